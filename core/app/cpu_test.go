package app

import "testing"

func TestCPU_IsTheShareSinceTheLastTime(t *testing.T) {
	var c cpu
	for i, tc := range []struct {
		stat string
		want float64
	}{
		{"cpu  1000 0 0 9000 0 0 0 0 0 0\ncpu0 …\n", 0},       // since the start says nothing of now
		{"cpu  1080 0 0 9010 10 0 0 0 0 0\n", 0.8},            // 80 of 100, 10 of them waiting
		{"cpu  1080 0 0 9010 10 0 0 0 500 0\n", 0.8},          // a guest's are counted already; no time passed
		{"cpu  1090 0 20 9030 60 0 0 20 500 0\n", 50.0 / 120}, // stolen time is no idle time
		{"nonsense\n", 50.0 / 120},
		{"cpu  a b c d e f g h\n", 50.0 / 120},
	} {
		c.read([]byte(tc.stat))
		if diff := c.share - tc.want; diff > 1e-9 || diff < -1e-9 {
			t.Errorf("reading %d: %v, want %v", i, c.share, tc.want)
		}
	}
}

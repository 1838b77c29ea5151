package main

import (
	"bufio"
	"context"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// handOverBucket is a line of the bridge's own measure of hand-overs.
var handOverBucket = regexp.MustCompile(`^wabridge_escalation_handover_seconds_bucket\{.*topic="complaint".*le="([0-9.e+]+)"\} ([0-9]+)`)

// handOvers returns how many complaints were handed over and, to the next bucket,
// how soon 99 of 100 were.
func (b *bridge) handOvers(ctx context.Context) (n int, within time.Duration) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/metrics", nil)
	if err != nil {
		return 0, 0
	}
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return 0, 0
	}
	defer res.Body.Close()
	type bucket struct {
		within time.Duration
		count  int
	}
	var buckets []bucket
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		m := handOverBucket.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		seconds, err1 := strconv.ParseFloat(m[1], 64)
		count, err2 := strconv.Atoi(m[2])
		if err1 == nil && err2 == nil {
			buckets = append(buckets, bucket{time.Duration(seconds * float64(time.Second)), count})
			n = max(n, count)
		}
	}
	for _, x := range buckets {
		if 100*x.count >= 99*n {
			return n, x.within
		}
	}
	return n, 0
}

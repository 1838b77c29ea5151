package app

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"time"
)

// cpu knows how much of the machine's CPU was used lately. Where the system does not
// say, nothing ever is.
type cpu struct {
	mu          sync.Mutex
	at          time.Time
	idle, total uint64
	share       float64
}

const (
	cpuEvery = time.Second
	cpuBusy  = 0.7
)

// busy reports whether more than seven tenths of the CPU were used.
func (c *cpu) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.at) >= cpuEvery {
		c.at = now
		stat, err := os.ReadFile("/proc/stat")
		if err == nil {
			c.read(stat)
		}
	}
	return c.share > cpuBusy
}

// read takes the share since the last time: see proc_stat(5).
func (c *cpu) read(stat []byte) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return
	}
	var idle, total uint64
	for i, f := range fields[1:9] { // what guests use is in user and nice
		n, err := strconv.ParseUint(string(f), 10, 64)
		if err != nil {
			return
		}
		total += n
		if i == 3 || i == 4 { // idle, and waiting for a disk
			idle += n
		}
	}
	if c.total > 0 && total > c.total && idle >= c.idle {
		c.share = 1 - float64(idle-c.idle)/float64(total-c.total)
	}
	c.idle, c.total = idle, total
}

package boltstore

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	commits prometheus.Histogram
	damaged prometheus.Counter
	queue   *prometheus.Desc
	s       *Store
	values  []gauge
}

type gauge struct {
	desc *prometheus.Desc
	read func(*Store) float64
}

func newMetrics(r prometheus.Registerer, s *Store) *metrics {
	name := func(n string) string { return prometheus.BuildFQName("wabridge", "store", n) }
	m := &metrics{
		s: s,
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "wabridge", Subsystem: "store", Name: "commit_seconds", Help: "Duration of a commit.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30},
		}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "wabridge", Subsystem: "store", Name: "damaged_total", Help: "Values that failed their checksum.",
		}),
		queue: prometheus.NewDesc(name("queue_depth"), "Items in a queue.", []string{"tenant", "queue"}, nil),
	}
	value := func(n, help string, read func(*Store) float64) {
		m.values = append(m.values, gauge{prometheus.NewDesc(name(n), help, nil, nil), read})
	}
	value("file_bytes", "Size of the hot file.", func(s *Store) float64 { return float64(s.disk.size.Load()) })
	value("free_bytes", "Free space on the disk.", func(s *Store) float64 { return float64(s.disk.free.Load()) })
	value("full", "1 while new events are refused for want of room.", func(s *Store) float64 {
		if s.disk.full.Load() {
			return 1
		}
		return 0
	})
	value("history_lag", "Records not yet moved to a segment.", func(s *Store) float64 { return float64(s.hist.lag.Load()) })
	value("history_bytes", "Size of all segments of history.", func(s *Store) float64 { return float64(s.hist.size.Load()) })
	r.MustRegister(m.commits, m.damaged, m)
	return m
}

func (m *metrics) damage() {
	if m != nil {
		m.damaged.Inc()
	}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.queue
	for _, v := range m.values {
		ch <- v.desc
	}
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, q := range m.s.Stats().Queues {
		ch <- prometheus.MustNewConstMetric(m.queue, prometheus.GaugeValue, float64(q.Depth), q.Queue.Tenant, q.Queue.Name)
	}
	for _, v := range m.values {
		ch <- prometheus.MustNewConstMetric(v.desc, prometheus.GaugeValue, v.read(m.s))
	}
}

// latencies keeps the durations of the last commits.
type latencies struct {
	n    uint64
	last [1024]time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.last[l.n%uint64(len(l.last))] = d
	l.n++
}

func (l *latencies) p99() time.Duration {
	have := slices.Clone(l.last[:min(l.n, uint64(len(l.last)))])
	if len(have) == 0 {
		return 0
	}
	slices.Sort(have)
	return have[len(have)*99/100]
}

package script

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the engine counts.
type metrics struct {
	calls        *prometheus.CounterVec
	kills        *prometheus.CounterVec
	loads        *prometheus.CounterVec
	starts       *prometheus.CounterVec
	startSeconds prometheus.Histogram
	runSeconds   prometheus.Histogram
	waitSeconds  prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, e *Engine) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wabridge_script_" + name, Help: help}, labels)
	}
	seconds := func(name, help string, first float64, n int) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wabridge_script_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(first, 2.5, n),
		})
	}
	m := &metrics{
		calls:        counter("calls_total", "Script calls, by how they ended: ok or an error's code.", "tenant", "result"),
		kills:        counter("kills_total", "Workers that ended during a call: loop, memory, crash, protocol.", "tenant", "reason"),
		loads:        counter("loads_total", "Scripts read: ok or refused.", "tenant", "result"),
		starts:       counter("worker_starts_total", "Workers started.", "tenant"),
		startSeconds: seconds("worker_start_seconds", "How long a worker took to start and read its script.", 0.002, 9),
		runSeconds:   seconds("run_seconds", "How long the hooks of a call ran.", 10e-6, 12),
		waitSeconds:  seconds("wait_seconds", "How long a batch of calls waited for a worker.", 10e-6, 12),
	}
	r.MustRegister(m.calls, m.kills, m.loads, m.starts, m.startSeconds, m.runSeconds, m.waitSeconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wabridge_script_workers", Help: "Worker processes.",
		}, func() float64 {
			e.mu.Lock()
			defer e.mu.Unlock()
			return float64(e.workers)
		}),
		&offCollector{e: e, desc: prometheus.NewDesc("wabridge_script_off",
			"1 for a tenant whose script was switched off after three kills.", []string{"tenant"}, nil)},
	)
	return m
}

// offCollector tells which scripts are switched off.
type offCollector struct {
	e    *Engine
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *offCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *offCollector) Collect(ch chan<- prometheus.Metric) {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	for id, t := range c.e.tenants {
		if t.program == nil {
			continue
		}
		off := 0.0
		if t.off {
			off = 1
		}
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, off, id)
	}
}

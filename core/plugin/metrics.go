package plugin

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are one lane's; the vectors are shared by all Hosts of a registerer.
type metrics struct {
	up       prometheus.Gauge
	starts   prometheus.Counter
	crashes  prometheus.Counter
	dropped  prometheus.Counter
	odd      prometheus.Counter
	inflight prometheus.Gauge
	seconds  prometheus.Observer
	tokens   *prometheus.CounterVec // by how asking for one ended
}

func newMetrics(reg prometheus.Registerer, plugin, tenant, lane string) *metrics {
	labels := []string{"plugin", "tenant", "lane"}
	values := []string{plugin, tenant, lane}
	gauge := func(name, help string) prometheus.Gauge {
		return shared(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)).WithLabelValues(values...)
	}
	counter := func(name, help string) prometheus.Counter {
		return shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)).WithLabelValues(values...)
	}
	return &metrics{
		up:       gauge("wabridge_plugin_up", "1 while the lane's plugin process is ready for calls."),
		starts:   counter("wabridge_plugin_starts_total", "Processes started that became ready."),
		crashes:  counter("wabridge_plugin_crashes_total", "Processes that died, hung or could not be started."),
		dropped:  counter("wabridge_plugin_log_lines_dropped_total", "Lines that plugins logged beyond 100 a second."),
		odd:      counter("wabridge_plugin_odd_answers_total", "Batches whose results did not match what was asked."),
		inflight: gauge("wabridge_plugin_deliver_in_flight", "Deliver calls that have not returned."),
		seconds: shared(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wabridge_plugin_deliver_seconds", Help: "Time that Deliver calls took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, labels)).WithLabelValues(values...),
		tokens: shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wabridge_plugin_tokens_total", Help: "Tokens that were asked for, by how it ended: ok or the error's code.",
		}, append(labels, "result"))).MustCurryWith(prometheus.Labels{"plugin": plugin, "tenant": tenant, "lane": lane}),
	}
}

// shared registers c, or returns the one that was registered before.
func shared[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if before, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := before.ExistingCollector.(C); ok {
			return same
		}
	}
	if err != nil {
		panic(err) // another metric of that name: a bug
	}
	return c
}

package whatsapp

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wabridge/wabridge/core"
)

// clientMetrics are all numbers'.
type clientMetrics struct {
	sends   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newClientMetrics(reg prometheus.Registerer) *clientMetrics {
	return &clientMetrics{
		sends: registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wabridge_whatsapp_sends_total", Help: "Attempts to send, by what became of them: sent, or the error's code.",
		}, []string{"tenant", "number", "outcome"})),
		seconds: registered(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wabridge_whatsapp_send_seconds", Help: "Time that attempts to send took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .15, .2, .3, .5, 1, 2, 5, 10, 30},
		}, []string{"tenant", "number"})),
	}
}

// sinkMetrics are one number's.
type sinkMetrics struct {
	done    prometheus.Counter
	failed  func(core.Code) prometheus.Counter
	seconds prometheus.Observer
}

func (m *clientMetrics) of(n Number) sinkMetrics {
	return sinkMetrics{
		done: m.sends.WithLabelValues(n.Tenant, n.ID, "sent"),
		failed: func(code core.Code) prometheus.Counter {
			return m.sends.WithLabelValues(n.Tenant, n.ID, string(code))
		},
		seconds: m.seconds.WithLabelValues(n.Tenant, n.ID),
	}
}

func (m *sinkMetrics) sent(err *core.Error, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	if err == nil {
		m.done.Inc()
		return
	}
	m.failed(err.Code).Inc()
}

// webhookMetrics are a Webhook's.
type webhookMetrics struct {
	posts   *prometheus.CounterVec
	updates *prometheus.CounterVec
	seconds prometheus.Histogram
	busy    prometheus.Gauge
}

func newWebhookMetrics(reg prometheus.Registerer) *webhookMetrics {
	return &webhookMetrics{
		posts: registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wabridge_whatsapp_webhook_requests_total",
			Help: "Webhook requests by outcome: ok, unsigned, malformed, too_large, cut, busy, not_stored.",
		}, []string{"outcome"})),
		updates: registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wabridge_whatsapp_updates_total", Help: "Updates that were stored or known already, by kind of event.",
		}, []string{"kind"})),
		seconds: registered(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wabridge_whatsapp_webhook_seconds", Help: "Time until a webhook was answered.",
			Buckets: []float64{.001, .0025, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		})),
		busy: registered(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wabridge_whatsapp_webhook_in_flight", Help: "Webhook requests that are being handled.",
		})),
	}
}

// registered registers c, or returns the one that was registered before.
func registered[C prometheus.Collector](reg prometheus.Registerer, c C) C {
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

package broker

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the broker's figures. Labels are bounded by the configuration:
// tenants, lanes and codes.
type metrics struct {
	decided, scriptErrors, refused, escalations, doubleSends *prometheus.CounterVec // by tenant
	delivered, held, paced, byFallback                       *prometheus.CounterVec // by tenant and lane
	trouble                                                  *prometheus.GaugeVec   // by tenant, number and what it is
	dead, errors                                             *prometheus.CounterVec // by tenant, lane and code
	calls, latency                                           *prometheus.HistogramVec
	told                                                     *prometheus.CounterVec   // by tenant, lane and result
	overdue, moved, campaignsStopped                         *prometheus.CounterVec   // by tenant
	handOver, answer                                         *prometheus.HistogramVec // by tenant and topic
	media                                                    *prometheus.CounterVec   // by tenant and state
	priced, cost                                             *prometheus.CounterVec   // by tenant and category; cost by currency, too
}

// forget drops the figures of a lane that is gone.
func (m *metrics) forget(tenant, lane string) {
	labels := prometheus.Labels{"tenant": tenant, "lane": lane}
	for _, c := range []*prometheus.CounterVec{m.delivered, m.dead, m.errors} {
		c.DeletePartialMatch(labels)
	}
	for _, h := range []*prometheus.HistogramVec{m.calls, m.latency} {
		h.DeletePartialMatch(labels)
	}
}

func newMetrics(r prometheus.Registerer, b *Broker) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "wabridge", Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "wabridge", Name: name, Help: help}, labels)
		r.MustRegister(g)
		return g
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "wabridge", Name: name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 2.5, 5, 10, 30, 60, 300, 3600},
		}, labels)
		r.MustRegister(h)
		return h
	}
	total := func(name, help string, read func() uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "wabridge", Name: name, Help: help},
			func() float64 { return float64(read()) }))
	}
	total("accepted_total", "Events stored.", b.totals.accepted.Load)
	total("duplicates_total", "Events dropped because they were seen before.", b.totals.duplicates.Load)
	total("quarantined_total", "Events of numbers that no tenant has.", b.totals.quarantine.Load)
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "wabridge", Name: "dead_overdue", Help: "Dead letters past their deadline.",
	}, func() float64 { return float64(b.overdue.Load()) }))
	for _, level := range []string{"warning", "critical"} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "wabridge", Name: "alarms", Help: "What somebody should look at, by level: see wabridge alarm list.",
			ConstLabels: prometheus.Labels{"level": level},
		}, func() float64 {
			n := 0
			for _, a := range b.Alarms("") {
				if a.Level == level {
					n++
				}
			}
			return float64(n)
		}))
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "wabridge", Name: "subscriptions_suspended", Help: "Subscriptions that get no events because their endpoints took none.",
	}, func() float64 {
		n := int64(0)
		for _, t := range b.tenants {
			n += t.subscriptions.halted.Load()
		}
		return float64(n)
	}))
	return &metrics{
		decided:          counter("decided_total", "Events decided.", "tenant"),
		scriptErrors:     counter("script_errors_total", "Decisions that fell back because the script failed.", "tenant"),
		refused:          counter("replies_refused_total", "Replies that a script asked for and the policy refused.", "tenant"),
		escalations:      counter("escalations_total", "Conversations handed to a person.", "tenant"),
		overdue:          counter("escalations_overdue_total", "Escalations that nobody answered, whatever the level.", "tenant"),
		moved:            counter("escalations_moved_total", "Escalations that went to the next level, unanswered.", "tenant"),
		handOver:         histogram("escalation_handover_seconds", "From accepting a message to a target having its escalation.", "tenant", "topic"),
		answer:           histogram("escalation_answer_seconds", "From accepting a message to a person's answer.", "tenant", "topic"),
		doubleSends:      counter("double_send_total", "Intents for which two messages appeared.", "tenant"),
		delivered:        counter("delivered_total", "Events that a sink took.", "tenant", "lane"),
		paced:            counter("sends_paced_total", "Sends that were put off for a limit of WhatsApp's.", "tenant", "lane"),
		byFallback:       counter("sends_by_fallback_total", "Sends that went to the queue of the fallback of their number.", "tenant", "lane"),
		trouble:          gauge("number_trouble", "1 while a number is in trouble.", "tenant", "number", "trouble"),
		told:             counter("crm_told_total", "Events that CRMs told, paced of: taken, known, refused, or failed for a call.", "tenant", "lane", "result"),
		held:             counter("held_total", "Sends whose outcome was unknown at first.", "tenant", "lane"),
		dead:             counter("dead_total", "Deliveries given up on.", "tenant", "lane", "code"),
		media:            counter("media_total", "Files of messages: stored, gone at WhatsApp before they were, failed, or uploaded to be sent.", "tenant", "state"),
		errors:           counter("delivery_errors_total", "Deliveries that failed, attempts that do not count included.", "tenant", "lane", "code"),
		campaignsStopped: counter("campaigns_stopped_total", "Campaigns that stopped by themselves.", "tenant"),
		priced:           counter("priced_total", "Messages that WhatsApp told the pricing of.", "tenant", "category"),
		cost:             counter("cost_total", "What they cost at list price, in the currency's unit; what failed later is not taken back here.", "tenant", "category", "currency"),
		calls:            histogram("call_seconds", "Duration of one call of a sink.", "tenant", "lane"),
		latency:          histogram("latency_seconds", "From accepting an event to its sink having it.", "tenant", "lane"),
	}
}

package scripts_test

import (
	"testing"

	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/scripts"
)

// BenchmarkDefault is what the default script costs through a worker, for each
// message, in frames of 64.
func BenchmarkDefault(b *testing.B) {
	texts := []string{
		"Hi there", "I confirm order #10234, thanks", "¿Dónde está mi pedido 5120?", "vous fermez à quelle heure aujourd'hui",
		"My parcel never arrived and nobody answers, I want my money back", "我要取消订单4512", "quanto custa o frete pra recife",
		"Hello, I hope you are well. I bought a lamp two weeks ago for my mother and she is very fond of it. Which bulbs fit, and do you sell them?",
	}
	e := engine(b, scripts.DefaultName, scripts.Default())
	calls := make([]script.Call, 64)
	for i := range calls {
		calls[i] = message{message: text(texts[i%len(texts)]), old: true, settings: map[string]any{"crm_fields": "all"}}.call(b)
	}
	for b.Loop() {
		for _, d := range e.Decide(b.Context(), "shop", calls) {
			if d.Err != nil {
				b.Fatal(d.Err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(calls)), "ns/event")
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/app/rig"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/redecide"
	"github.com/wabridge/wabridge/core/script"
	"github.com/wabridge/wabridge/core/store"
	"github.com/wabridge/wabridge/core/store/boltstore"
	"github.com/wabridge/wabridge/scripts"
)

// recordedTraffic is a stopped bridge's store, as wabridge script diff reads it.
type recordedTraffic struct{ *boltstore.Store }

func (t recordedTraffic) Decisions(ctx context.Context, q broker.DecisionQuery) (broker.DecisionPage, error) {
	return broker.Decisions(ctx, t.Store, q)
}

var diffTexts = []string{
	"Hi, are you open today?", "I confirm order %d, thank you", "Hola, ¿hacen envíos? Es para el pedido %d", "My order %d arrived broken, I want a refund",
	"Bonjour, je confirme la commande %d", "Bom dia! O produto %d veio quebrado", "你好，我确认订单 %d", "ok",
}

// scriptDiff makes recorded messages and decides all of them again with the
// script that ships, twice.
func scriptDiff(ctx context.Context, o options) ([]result, error) {
	dir := filepath.Join(o.dir, "recorded")
	began := time.Now()
	if err := recordTraffic(ctx, dir, o.decisions); err != nil {
		return nil, err
	}
	made := time.Since(began)
	st, err := boltstore.OpenReadOnly(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = st.Close() }()
	var size int64
	files, _ := filepath.Glob(filepath.Join(dir, "history", "*.db"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			size += info.Size()
		}
	}
	engine := script.New(script.Options{
		Command: []string{o.bin, "script-worker"}, Workers: runtime.NumCPU(), NeverOff: true, Log: slog.New(slog.DiscardHandler),
	})
	ectx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ectx) }()
	defer func() {
		cancel()
		<-ended //nolint:errcheck // it ends because it is told to
	}()
	if _, err := engine.Load(ectx, "new", script.Source{Name: scripts.DefaultName, Code: scripts.Default(), Files: scripts.Tables()}); err != nil {
		return nil, err
	}
	var reports [2][]byte
	var times [2]time.Duration
	for i := range reports {
		began := time.Now()
		r, err := redecide.Diff(ectx, redecide.Options{
			Traffic: recordedTraffic{st}, Tenant: "bench", Workers: runtime.NumCPU(),
			New: func(ctx context.Context, calls []script.Call) []script.Decision {
				return engine.Decide(ctx, "new", calls)
			},
		})
		if err != nil {
			return nil, err
		}
		times[i] = time.Since(began)
		if reports[i], err = json.Marshal(r); err != nil {
			return nil, err
		}
		if r.Decisions != o.decisions {
			return nil, fmt.Errorf("%d of %d decisions were made again", r.Decisions, o.decisions)
		}
	}
	usage := rig.UsageOf(os.Getpid())
	r := result{
		OK: bytes.Equal(reports[0], reports[1]), Sent: o.decisions, Rate: float64(o.decisions) / times[1].Seconds(), PSS: usage.PSS, Anon: usage.Anon,
		Note: fmt.Sprintf("%d decisions made again in %v and %v; %d bytes of history each; recording them took %v",
			o.decisions, ms(times[0]), ms(times[1]), size/int64(o.decisions), ms(made)),
	}
	if !r.OK {
		r.Why = "two runs are not the same"
	}
	return []result{r}, nil
}

// recordTraffic writes what a bridge would have recorded of so many messages.
func recordTraffic(ctx context.Context, dir string, n int) error {
	st, err := boltstore.Open(dir, boltstore.Options{MinFree: -1, BallastSize: -1, UnsafeNoSync: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	sctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.Run(sctx) }()
	start := time.Now().Add(-7 * 24 * time.Hour).UTC()
	for i := 0; i < n && err == nil; {
		var s store.Settlement
		for range 1000 {
			if i == n {
				break
			}
			s.Record = append(s.Record, recordedMessage(i, start.Add(time.Duration(i)*7*24*time.Hour/time.Duration(n))))
			i++
		}
		_, err = st.Settle(ctx, s)
		for err == nil && st.Stats().HistoryLag > 100_000 {
			err = pause(ctx)
		}
	}
	for err == nil && st.Stats().HistoryLag > 0 {
		err = pause(ctx)
	}
	cancel()
	if e := <-ended; err == nil {
		err = e
	}
	if e := st.Close(); err == nil {
		err = e
	}
	return err
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(50 * time.Millisecond):
		return nil
	}
}

func recordedMessage(i int, at time.Time) store.Record {
	id, who := fmt.Sprintf("wamid.bench%d", i), fmt.Sprintf("cbench%d", i%50_000)
	text := diffTexts[i%len(diffTexts)]
	if i%len(diffTexts) != 0 && i%len(diffTexts) != len(diffTexts)-1 {
		text = fmt.Sprintf(text, i)
	}
	contact := &core.Contact{ID: who, Name: "Ana", Phone: fmt.Sprintf("+1415555%05d", i%50_000)}
	event := encoded(core.Event{
		ID: id, Kind: core.KindMessageReceived, Tenant: "bench", Number: number, Conversation: core.ConversationID(number, who),
		Time: at, Accepted: at, Source: "whatsapp", Contact: contact,
		Message: &core.Message{ID: id, Direction: core.Inbound, Type: core.TypeText, Text: text},
	})
	given := encoded(map[string]any{
		"contact": contact, "tenant": map[string]any{"id": "bench", "name": "Bench"}, "settings": map[string]any{"greeting": "Hello!"},
		"conversation": map[string]any{"id": core.ConversationID(number, who), "new": i < 50_000, "mode": "bot", "started": at, "messages": 1 + i/50_000, "replies": 0},
	})
	step := encoded(broker.Step{
		Time: at, Event: id, Kind: core.KindMessageReceived, Tenant: "bench", Step: "decided", Script: "0123456789ab",
		Recorded: &broker.Recorded{Hooks: script.OnMessage | script.MapToCRM, Event: event, Context: given, Now: at, Seed: int64(i)},
	})
	return store.Record{Tenant: "bench", IDs: []string{id, broker.RecordedID}, Time: at, Data: step}
}

// encoded is JSON of what can always be written.
func encoded(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

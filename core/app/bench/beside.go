package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/wabridge/wabridge/core/app/rig"
)

const (
	hostileRate  = 20.0                   // messages per second of the tenant beside
	scriptChange = 700 * time.Millisecond // its script is another one so often
	hostileMost  = 110                    // scripts that are tried: every second, third … of the corpus
	rounds       = 3
)

// besideHostile measures a tenant beside one whose script is each of the hostile
// corpus in turn, and beside one that changes a good script as often.
func besideHostile(ctx context.Context, o options) ([]result, error) {
	o.profile = ""
	archive, err := txtar.ParseFile(o.hostile)
	if err != nil {
		return nil, fmt.Errorf("the hostile scripts: %w: see -hostile", err)
	}
	var good, bad []string
	every := len(archive.Files)/hostileMost + 1
	for i, f := range archive.Files {
		if i%every == 0 && strings.HasSuffix(f.Name, ".js") {
			bad = append(bad, string(f.Data))
			good = append(good, fmt.Sprintf("// %d\n%s", i, answers))
		}
	}
	// One run takes as long as it takes to try all of them.
	o.duration = scriptChange * time.Duration(len(bad))
	var out []result
	acks, ends := map[bool][]time.Duration{}, map[bool][]time.Duration{}
	for range rounds {
		for _, hostile := range []bool{false, true} {
			scripts := good
			if hostile {
				scripts = bad
			}
			r, err := measure(ctx, o, setup{beside: playing(scripts)}, 300)
			if err != nil {
				return out, err
			}
			acks[hostile], ends[hostile] = append(acks[hostile], r.AckP99), append(ends[hostile], r.EndP99)
			r.Note += map[bool]string{false: " (good scripts)", true: " (hostile scripts)"}[hostile]
			out = append(out, r)
		}
	}
	ratio := func(of map[bool][]time.Duration) float64 {
		return float64(median(of[true])) / float64(median(of[false]))
	}
	sum := result{Rate: 300, OK: true, AckP99: median(acks[true]), EndP99: median(ends[true]),
		Note: fmt.Sprintf("median p99 beside hostile scripts to beside good ones: ack %.2f, end to end %.2f", ratio(acks), ratio(ends))}
	if ratio(acks) > 1.2 || ratio(ends) > 1.2 {
		sum.OK, sum.Why = false, "the neighbour is felt"
	}
	return append(out, sum), nil
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// playing is the tenant beside: steady traffic, and one script after the other.
func playing(scripts []string) func(context.Context, *bridge) int {
	return func(ctx context.Context, b *bridge) int {
		path := filepath.Join(b.dir, "tenants", "beside", "script.js")
		done := make(chan struct{})
		go func() {
			defer close(done)
			tick := time.NewTicker(scriptChange)
			defer tick.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				if os.WriteFile(path, []byte(scripts[i%len(scripts)]), 0o600) != nil {
					return
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		}()
		load := &rig.Load{
			URL: b.url + "/webhooks/whatsapp", Secret: secret, Number: noisy, Rate: hostileRate, Duration: time.Hour,
			People: 5000, Prefix: "beside", Connections: 16,
		}
		res := load.Run(ctx)
		<-done
		return res.Acked
	}
}

// Command bench measures the whole bridge as it is shipped: the real binary with
// its plugin and script processes, a load generator and the sims of WhatsApp and
// a CRM (HubSpot, unless the measurement says otherwise), all on the same machine. Everything is durable; a third of the
// messages are answered; 15 fields are mapped.
//
// It prints a table and, with -json, the figures for machines. Absolute figures
// depend on the machine and the hour: compare ratios of one run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin/wabridge", "the bridge's program")
	flag.StringVar(&o.dir, "dir", "", "where to put data (default: a temporary folder)")
	flag.DurationVar(&o.duration, "duration", 15*time.Second, "how long each measurement takes")
	only := flag.String("only", "", "run only the measurements whose name contains this")
	flag.StringVar(&o.crm, "crm", "", "of the measurement crms, only the CRMs whose name contains this")
	asJSON := flag.Bool("json", false, "print the figures as JSON")
	flag.Float64Var(&o.start, "from", 1500, "the first rate tried for the sustained rate, messages per second")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the bridge at its sustained rate to this file")
	flag.StringVar(&o.hostile, "hostile", "core/script/testdata/hostile.txtar", "scripts that do harm, for beside-hostile")
	flag.IntVar(&o.decisions, "decisions", 1_000_000, "how many recorded decisions script-diff makes again")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o, *only, *asJSON)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	decisions                  int
	bin, dir, profile, hostile string
	crm                        string
	duration                   time.Duration
	start                      float64
}

func run(ctx context.Context, o options, only string, asJSON bool) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "wabridge-bench-*")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		o.dir = dir
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	if _, err := os.Stat(bin); err != nil {
		return fmt.Errorf("%w: run `make build` first", err)
	}
	o.bin = bin
	var results []result
	for _, m := range measurements {
		if !strings.Contains(m.name, only) {
			continue
		}
		if !asJSON {
			fmt.Printf("%s\n  %s\n", m.name, m.what)
		}
		rs, err := m.run(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		for i := range rs {
			rs[i].Measurement = m.name
			if !asJSON {
				fmt.Print(rs[i].text())
			}
		}
		results = append(results, rs...)
	}
	if len(results) == 0 {
		return errors.New("no such measurement")
	}
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(results)
	}
	return nil
}

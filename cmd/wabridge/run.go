package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core/app"
)

// drainTime is how long the bridge may take to finish what is under way.
const drainTime = 30 * time.Second

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run the bridge",
		Description: "Runs until SIGTERM or SIGINT, then finishes what is under way, for 30 s at most; a second\n" +
			"signal ends it at once. Nothing acknowledged is lost either way. Scripts are read again when\n" +
			"their files change; everything else when the bridge starts. It logs to standard error.\n\n" +
			"Examples:\n   wabridge run --config /etc/wabridge\n   wabridge run --set log.format=json --listen 127.0.0.1:9000",
		Flags: []cli.Flag{
			configFlag, setFlag, jsonFlag,
			&cli.StringFlag{Name: "listen", Usage: "the `ADDRESS` to listen on, instead of web.listen"},
			&cli.StringFlag{Name: "cpuprofile", Hidden: true, Usage: "write a CPU profile to `FILE`"},
		},
		Action: run,
	}
}

func run(c *cli.Context) error {
	if c.NArg() > 0 {
		return misused("wabridge run: no arguments, only flags")
	}
	cfg, err := load(c)
	if err != nil {
		return err
	}
	log := logger(cfg.Log, c.App.ErrWriter)
	bar := newProgress(c.App.ErrWriter)
	bar.say("opening %s …", cfg.DataDir)
	bridge, err := app.New(app.Options{
		Config: cfg, Version: version, Builtin: builtin, Worker: worker(), Log: log,
		Failpoint: failpoint(), Unsafe: unsafe(),
	})
	bar.done()
	if err != nil {
		return err
	}
	address := "http://" + bridge.Addr()
	if c.Bool("json") {
		printJSON(c.App.Writer, map[string]any{"version": version, "url": address, "pid": os.Getpid(), "data_dir": cfg.DataDir})
	} else {
		fmt.Fprintf(c.App.Writer, "wabridge %s: %s (data in %s)\n", version, address, cfg.DataDir)
	}
	log.Info("started", "version", version, "address", bridge.Addr(), "data_dir", cfg.DataDir, "tenants", len(cfg.Tenants))
	if path := c.String("cpuprofile"); path != "" {
		stop, err := profile(path)
		if err != nil {
			return errors.Join(err, bridge.Close())
		}
		defer stop()
	}
	err = untilSignal(c.Context, c.App.ErrWriter, bridge.Run)
	log.Info("stopped")
	return err
}

// profile writes a CPU profile until stop is called.
func profile(path string) (stop func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// untilSignal runs something until it ends or a signal asks it to. A second
// signal, or drainTime, ends the waiting.
func untilSignal(ctx context.Context, w io.Writer, run func(context.Context) error) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-signals:
	}
	if onTerminal(w) {
		fmt.Fprintln(w, "\nstopping: finishing what is under way; once more to end at once")
	}
	cancel()
	late := time.NewTimer(drainTime)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-signals:
		return fail(exitFailed, "stop: ended at once, as asked")
	case <-late.C:
		return fail(exitFailed, "stop: still busy after %s: ended all the same", drainTime)
	}
}

//go:build linux

package plugin

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/wabridge/wabridge/core/plugin/internal/connectorpb"
)

// children are the programs that the tests start: plugins of all kinds, mostly
// bad ones, and bridges to be killed.
var children = map[string]func(args []string){
	"actor":   func([]string) { Serve(actor{}) },
	"visitor": func([]string) { Serve(visitor{}) },
	"poller":  func([]string) { Serve(poller{}) },
	"attach":  func(args []string) { Attach(args[0]) },

	// What authors do before Serve.
	"printing": func(args []string) {
		fmt.Print(strings.ReplaceAll(args[0], `\n`, "\n"))
		Serve(actor{})
	},

	// Not plugins.
	"silent":  func([]string) { forever() },
	"exiting": func([]string) { fmt.Fprintln(os.Stderr, "config not found"); os.Exit(7) },
	"noisy": func([]string) {
		for range 100_000 {
			fmt.Println("usage: noisy [flags]")
		}
		forever()
	},
	"deaf": func([]string) { // a socket that takes connections, and nothing else
		l, err := net.Listen("unix", os.Getenv(goplugin.EnvUnixSocketDir)+"/deaf")
		if err != nil {
			panic(err)
		}
		fmt.Printf("1|1|unix|%s|grpc|%s\n", l.Addr(), strings.Repeat("A", 60))
		forever()
	},
	"mute": func([]string) { // the same, with a certificate
		l, err := net.Listen("unix", os.Getenv(goplugin.EnvUnixSocketDir)+"/mute")
		if err != nil {
			panic(err)
		}
		public, private, _ := ed25519.GenerateKey(nil)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
		cert, err := x509.CreateCertificate(nil, template, template, public, private)
		if err != nil {
			panic(err)
		}
		fmt.Printf("1|1|unix|%s|grpc|%s\n", l.Addr(), base64.RawStdEncoding.EncodeToString(cert))
		forever()
	},
	"elsewhere": func(args []string) { fmt.Printf("1|1|%s|grpc|\n", args[0]); forever() },
	"stubborn": func([]string) {
		signal.Ignore(syscall.SIGTERM)
		serveEvil(evil{}, versions)
	},
	"version": func([]string) {
		serveEvil(evil{}, func(s connectorpb.Server) map[int]goplugin.PluginSet {
			return map[int]goplugin.PluginSet{7: versions(s)[1]}
		})
	},

	// Plugins that answer what they must not.
	"evil":   func(args []string) { serveEvil(evil{args[0]}, versions) },
	"crashy": func([]string) { serveEvil(evil{"crash"}, versions) },

	// A bridge: it starts a plugin and tells its process id.
	"bridge": func(args []string) {
		h := NewHost(HostOptions{
			Name: "actor", Launch: Launcher{Command: child("evil", "none").Command, Memory: -1, Dir: args[0]},
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
		go func() { _ = h.Run(context.Background()) }()
		if _, err := h.Info(context.Background()); err != nil {
			panic(err)
		}
		fmt.Println(h.State().PID)
		forever()
	},
	// A bridge whose plugin the kernel does not kill with it.
	"careless": func(args []string) {
		cmd := exec.Command("/proc/self/exe", "child", "actor")
		cmd.Env = []string{
			handshake.MagicCookieKey + "=" + handshake.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1",
			goplugin.EnvUnixSocketDir + "=" + args[0],
		}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = out.Read(make([]byte, 1)) // it is up
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(cmd.Process.Pid)
		forever()
	},
}

func forever() { select {} }

// serveEvil is Serve without its manners.
func serveEvil(s connectorpb.Server, v func(connectorpb.Server) map[int]goplugin.PluginSet) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: handshake, VersionedPlugins: v(s), GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o, grpc.MaxSendMsgSize(1<<30), grpc.MaxRecvMsgSize(1<<30))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

// evil answers in one bad way.
type evil struct{ how string }

func (e evil) Info(context.Context, *connectorpb.InfoRequest) (*connectorpb.InfoResponse, error) {
	if e.how == "info-exit" {
		os.Exit(9)
	}
	info := infoToWire(actor{}.Info())
	if e.how == "info" {
		info.Name, info.MaxBatch, info.Idempotency = "../../etc/passwd", 100_000_000, "maybe"
	}
	return info, nil
}

func (e evil) Check(context.Context, *connectorpb.CheckRequest) (*connectorpb.CheckResponse, error) {
	return nil, status.Error(codes.Unimplemented, "no Check here")
}

func (e evil) Authorize(context.Context, *connectorpb.AuthorizeRequest) (*connectorpb.AuthorizeResponse, error) {
	return nil, status.Error(codes.Unimplemented, "evil has no tokens")
}

func (e evil) Poll(context.Context, *connectorpb.PollRequest) (*connectorpb.PollResponse, error) {
	return nil, status.Error(codes.Unimplemented, "evil has no Poll")
}

func (e evil) Webhook(context.Context, *connectorpb.WebhookRequest) (*connectorpb.WebhookResponse, error) {
	return nil, status.Error(codes.Unimplemented, "evil has no Webhook")
}

func (e evil) Describe(context.Context, *connectorpb.DescribeRequest) (*connectorpb.DescribeResponse, error) {
	return nil, status.Error(codes.Unimplemented, "evil has no Describe")
}

func (e evil) Segments(context.Context, *connectorpb.SegmentsRequest) (*connectorpb.SegmentsResponse, error) {
	if e.how == "segments" {
		return &connectorpb.SegmentsResponse{Segments: [][]byte{[]byte(`{"id":"7","name":"list"}`), []byte(`{`)}}, nil
	}
	return nil, status.Error(codes.Unimplemented, "evil has no Segments")
}

func (e evil) Members(context.Context, *connectorpb.MembersRequest) (*connectorpb.MembersResponse, error) {
	if e.how == "segments" {
		return &connectorpb.MembersResponse{Members: [][]byte{[]byte(`{"contact_ref":7}`)}}, nil
	}
	return nil, status.Error(codes.Unimplemented, "evil has no Members")
}

func (e evil) Deliver(_ context.Context, req *connectorpb.DeliverRequest) (*connectorpb.DeliverResponse, error) {
	res := new(connectorpb.DeliverResponse)
	for _, d := range req.Deliveries {
		res.Results = append(res.Results, &connectorpb.Result{Id: d.Id, Ref: "r"})
	}
	r := res.Results
	switch e.how {
	case "huge":
		r[0].Ref = strings.Repeat("x", 300<<20)
	case "foreign":
		r[0].Id = "wamid.of-another-tenant"
	case "doubled":
		r[1] = &connectorpb.Result{Id: r[0].Id, Error: &connectorpb.Error{Code: "invalid", Message: "no"}}
	case "none":
		res.Results = nil
	case "many":
		for i := range 100_000 {
			res.Results = append(res.Results, &connectorpb.Result{Id: fmt.Sprint(i)})
		}
	case "texts":
		r[0].Ref = strings.Repeat("ref\x00\n", 1000)
		r[0].Error = &connectorpb.Error{
			Code: "explode", Message: strings.Repeat("é\x1b[2J", 1<<20), Hint: req.Account.Secrets["token"],
			RetryAfterMs: 1 << 60, Scope: "world", Source: "nobody", Vendor: strings.Repeat("v", 1000),
		}
		r[1].Error = &connectorpb.Error{Code: "rate_limited", RetryAfterMs: -5}
	case "aborted":
		return nil, status.Error(codes.Aborted, "not now, not ever")
	case "status":
		return nil, status.Error(codes.FailedPrecondition, "my dog ate "+req.Account.Secrets["token"])
	case "crash":
		os.Exit(9)
	}
	return res, nil
}

// bridgeChild is a child that is a bridge, and its plugin's process id.
type bridgeChild struct {
	bridge *os.Process
	plugin int
}

func startChild(t testing.TB, args ...string) (bridgeChild, error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"child"}, args...)...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return bridgeChild{}, err
	}
	if err := startOnStarter(cmd); err != nil {
		return bridgeChild{}, err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b := bridgeChild{bridge: cmd.Process}
	_, err = fmt.Fscan(out, &b.plugin)
	return b, err
}

// output is what a child printed, for tests that look at a child by itself.
func output(cmd *exec.Cmd) (stdout, stderr string, err error) {
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

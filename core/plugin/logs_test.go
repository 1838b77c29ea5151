package plugin

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wabridge/wabridge/core"
)

// logged is what logs makes of what a plugin writes to standard error.
func logged(written string, secrets ...core.Secret) (records string, l *logs, dropped int) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	var r redactor
	m := map[string]core.Secret{}
	for i, s := range secrets {
		m[fmt.Sprint(i)] = s
	}
	r.learn(m)
	l = newLogs(log, &r, func() { dropped++ })
	l.read(strings.NewReader(written))
	return out.String(), l, dropped
}

func TestLogs_ReadsLines(t *testing.T) {
	for _, tc := range []struct{ name, written, want string }{
		{"plain text", "hello\nworld\r\n\nlast", "level=INFO msg=hello\nlevel=INFO msg=world\nlevel=INFO msg=last\n"},
		{"slog", `{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"slow","n":3,"who":{"a":"b"}}` + "\n", `level=WARN msg=slow said.n=3 said.who="{\"a\":\"b\"}"` + "\n"},
		{"hclog", `{"@level":"error","@message":"broken","@timestamp":"x","@module":"m"}` + "\n", "level=ERROR msg=broken said.@module=m\n"},
		{"hclog trace is no level of ours", `{"@level":"trace","@message":"m"}` + "\n", "level=INFO msg=m\n"},
		{"debug is not logged", `{"level":"DEBUG","msg":"m"}` + "\n", ""},
		{"broken JSON is text", "{\"level\":\n", `level=INFO msg="{\"level\":"` + "\n"},
		{"control characters", "a\x1b[31mb\x00c\xff\n", "level=INFO msg=\"a [31mb c?\"\n"},
		{"a secret", "the token is s3cr3t!\n", "level=INFO msg=\"the token is [secret]\"\n"},
		{"a secret in JSON", `{"msg":"s3cr3t!","s3cr3t!":["s3cr3t!"]}` + "\n", `level=INFO msg=[secret] said.[secret]="[\"[secret]\"]"` + "\n"},
		{"a phone number", "who is +15550100155?\n", "level=INFO msg=\"who is …55?\"\n"},
		{"no such level", `{"level":"loud","msg":"m"}` + "\n", "level=INFO msg=m\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, _, _ := logged(tc.written, "s3cr3t!"); got != tc.want {
				t.Errorf("logged\n%swant\n%s", got, tc.want)
			}
		})
	}
}

func TestLogs_CutsLongLines(t *testing.T) {
	got, _, _ := logged(strings.Repeat("x", 1<<20) + "\nnext\n")
	if len(got) > maxLine+200 || !strings.Contains(got, "cut=true") || !strings.Contains(got, "msg=next") {
		t.Errorf("a line of 1 MiB became %d bytes: %.100s", len(got), got)
	}
}

func TestLogs_AllowsSoManyLinesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		var out bytes.Buffer
		dropped := 0
		l := newLogs(slog.New(slog.NewTextHandler(&out, nil)), new(redactor), func() { dropped++ })
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.read(r)
		}()
		write := func(lines int) {
			fmt.Fprint(w, strings.Repeat("line\n", lines))
			synctest.Wait()
		}
		write(1000)
		if got := strings.Count(out.String(), "msg=line"); got != linesPerSecond {
			t.Errorf("%d of 1000 lines at once were logged, want %d", got, linesPerSecond)
		}
		time.Sleep(100 * time.Millisecond) // virtual
		write(1000)
		if got := strings.Count(out.String(), "msg=line"); got != linesPerSecond*11/10 {
			t.Errorf("100 ms later %d lines were logged, want %d", got, linesPerSecond*11/10)
		}
		time.Sleep(time.Hour)
		write(1)
		if !strings.Contains(out.String(), "dropped_lines=990") {
			t.Errorf("the log does not say that 990 more lines were dropped:\n%s", out.String())
		}
		w.Close()
		<-done
		if dropped != 2001-linesPerSecond*11/10-1 {
			t.Errorf("%d lines were counted as dropped", dropped)
		}
	})
}

const goCrash = `panic: token=s3cr3t and more
	of it on a second line: main.go(hunter2)
	panic: again hunter2

goroutine 34 [running]:
main.(*Client).post(0xc0001, {0x1234, 0x7}, ...)
	/home/dev/acme/client.go:42 +0x1d
net/http.(*Client).Do(...)
	/usr/local/go/src/net/http/client.go:590
main.main.func1()
	/home/dev/acme/main.go:12 +0x25
created by main.main in goroutine 1
	/home/dev/acme/main.go:9 +0x1a
hunter2 at the end
exit status 2
`

func TestLogs_TellsWhereAPluginCrashedButNotWithWhat(t *testing.T) {
	got, l, _ := logged("before\n" + goCrash)
	for _, no := range []string{"s3cr3t", "hunter2", "0xc0001", "/home/dev"} {
		if strings.Contains(got, no) {
			t.Errorf("the log has %q:\n%s", no, got)
		}
	}
	for _, want := range []string{"msg=before", "level=ERROR", `msg="plugin crashed"`, "goroutine 34 [running]:", "main.(*Client).post", "acme/client.go:42"} {
		if !strings.Contains(got, want) {
			t.Errorf("the log does not have %q:\n%s", want, got)
		}
	}
	if got, want := l.lastWords(), "panic (its text is not shown) at acme/client.go:42 (main.(*Client).post)"; got != want {
		t.Errorf("last words are %q, want %q", got, want)
	}
}

func TestLogs_KeepsTheRuntimesOwnWords(t *testing.T) {
	for _, tc := range []struct{ written, want string }{
		{
			"panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.f(...)\n\t/x/y/main.go:3\n",
			"panic: runtime error: index out of range [5] with length 3 at y/main.go:3 (main.f)",
		},
		{"fatal error: concurrent map writes\n", "fatal error: concurrent map writes"},
		{"fatal error: runtime: out of memory\n\nruntime stack:\nruntime.throw({0x1})\n\t/go/src/runtime/panic.go:1 +0x1\n", "fatal error: runtime: out of memory"},
		{"SIGQUIT: quit\nPC=0x46 m=0\ngoroutine 0 [idle]:\n", "goroutine 0 [idle]:"},
	} {
		if _, l, _ := logged(tc.written); l.lastWords() != tc.want {
			t.Errorf("%q: last words are %q, want %q", tc.written, l.lastWords(), tc.want)
		}
	}
}

func TestLogs_TellsOfWhichErrorNodeDied(t *testing.T) {
	stack := "    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15) {\n  code: 'MODULE_NOT_FOUND'\n}\n\n"
	for _, tc := range []struct{ written, want string }{
		{"node:internal/modules/cjs/loader:1210\n  throw err;\n  ^\n\nError: Cannot find module 'acme'\n" + stack + "Node.js v20.20.2\n", "Error: Cannot find module 'acme'"},
		{"TypeError [ERR_X]: no such thing: s3cr3t\n" + stack + "Node.js v22.1.0\n", "TypeError [ERR_X]: no such thing: [secret]"},
		{"Error: an old one\nall is well\n", "all is well"},
		{"Node.js v20.20.2\n", "Node.js v20.20.2"},
	} {
		if _, l, _ := logged(tc.written, "s3cr3t"); l.lastWords() != tc.want {
			t.Errorf("%q: last words are %q, want %q", tc.written, l.lastWords(), tc.want)
		}
	}
}

func TestLogs_GoesOnAfterWhatOnlyLooksLikeACrash(t *testing.T) {
	got, l, _ := logged("panic: at the disco\n" + strings.Repeat("a song\n", maxCrashSeen+5))
	if !strings.Contains(got, `msg="a song"`) {
		t.Error("the lines after it are not logged")
	}
	if l.lastWords() != "a song" {
		t.Errorf("last words are %q", l.lastWords())
	}
}

func TestRedactor_RemembersOldSecretsForAWhile(t *testing.T) {
	var r redactor
	r.learn(map[string]core.Secret{"a": "first-token", "b": "abc"})
	r.learn(map[string]core.Secret{"a": `second "token"`})
	r.learn(map[string]core.Secret{"a": "first-token-and-more"})
	for in, want := range map[string]string{
		"x first-token y":          "x [secret] y",
		"first-token-and-more":     "[secret]",
		`{"t":"second \"token\""}`: `{"t":"[secret]"}`,
		`second "token"`:           "[secret]",
		"abc":                      "abc", // too short to be told from words
		"":                         "",
	} {
		if got := r.text(in); got != want {
			t.Errorf("text(%q) is %q, want %q", in, got, want)
		}
	}
	for i := range 1000 {
		r.learn(map[string]core.Secret{"a": core.Secret(fmt.Sprint("secret-", i))})
	}
	if len(r.known) > maxKnown {
		t.Errorf("%d secrets are remembered", len(r.known))
	}
	if got := r.text("secret-999"); got != "[secret]" {
		t.Errorf("the newest secret is shown: %q", got)
	}
}

func TestHandshakeReader_FindsTheHandshake(t *testing.T) {
	const line = "1|1|unix|/tmp/x/plugin1|grpc|MIIB"
	for _, tc := range []struct{ name, in, want, noise string }{
		{"alone", line + "\n", line + "\n", ""},
		{"after lines", "a\nb\n" + line + "\n", line + "\n", "a\nb\n"},
		{"in a line", "ready 1" + line + "\n", line + "\n", "ready 1\n"},
		{"with more after it", line + "\nmore\n1|1|unix|evil|grpc|\n", line + "\n", "more\n1|1|unix|evil|grpc|\n"},
		{"none", "hello\n", "", "hello\n"},
		{"too much before it", strings.Repeat("noise\n", maxNoise/6+800) + line + "\n", "", ""},
		{"a line without end", strings.Repeat("x", 2*maxNoise), "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var noise bytes.Buffer
			r := &handshakeReader{from: io.NopCloser(strings.NewReader(tc.in)), noise: &noise}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != tc.want {
				t.Errorf("read %.200q (%v), want %q", got, err, tc.want)
			}
			if tc.noise != "" && noise.String() != tc.noise {
				t.Errorf("noise is %q, want %q", noise.String(), tc.noise)
			}
			if len(r.printed()) > 200 || noise.Len() > 2*maxNoise {
				t.Errorf("%d bytes printed, %d of noise are kept", len(r.printed()), noise.Len())
			}
		})
	}
}

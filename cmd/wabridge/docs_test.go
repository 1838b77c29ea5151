package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wabridge/wabridge/core/broker"
)

// block is a fenced block of a page, with its language.
var block = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// cmdExamples runs the curl examples of a page, as they stand, and compares what
// they print with the JSON below each: every name that is there must be there with
// the same value, where "…" is any text. examples PAGE ENDPOINT: the endpoint is
// called instead of the page's.
func cmdExamples(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: examples PAGE ENDPOINT")
	}
	page, err := os.ReadFile(filepath.Join(ts.Getenv("REPOSITORY"), args[0]))
	ts.Check(err)
	text := strings.ReplaceAll(string(page), "https://hooks.example.com/whatsapp", args[1])
	blocks := block.FindAllStringSubmatch(text, -1)
	ran := 0
	for i, b := range blocks {
		if b[1] != "sh" || !strings.HasPrefix(b[2], "curl ") {
			continue
		}
		if ran++; i+1 == len(blocks) || blocks[i+1][1] != "json" {
			ts.Fatalf("no answer is shown below\n%s", b[2])
		}
		ts.Check(ts.Exec("sh", "-c", b[2]))
		var want, got any
		ts.Check(json.Unmarshal([]byte(blocks[i+1][2]), &want))
		if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &got); err != nil || !isLike(want, got) {
			ts.Fatalf("%s\nprints\n%s\nnot\n%s", b[2], ts.ReadFile("stdout"), blocks[i+1][2])
		}
		if m, ok := got.(map[string]any); ok && m["secret"] != nil {
			keep(ts, fmt.Sprint(m["secret"]))
		}
	}
	if ran < 10 {
		ts.Fatalf("%s: found %d examples", args[0], ran)
	}
}

// keep adds a secret to those by which the endpoint knows the bridge.
func keep(ts *testscript.TestScript, secret string) {
	f, err := os.OpenFile(ts.MkAbs("secrets.txt"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = fmt.Fprintln(f, secret)
	ts.Check(err)
	ts.Check(f.Close())
}

func isLike(want, got any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for name := range w {
			ok = ok && isLike(w[name], g[name])
		}
		return ok
	case []any:
		g, ok := got.([]any)
		if !ok || len(w) > len(g) || len(w) == 0 && len(g) > 0 {
			return false
		}
		for i := range w {
			if !isLike(w[i], g[i]) {
				return false
			}
		}
		return true
	case string:
		g, ok := got.(string)
		before, after, open := strings.Cut(w, "…")
		return ok && (w == g || open && strings.HasPrefix(g, before) && strings.HasSuffix(g, after))
	}
	return want == got
}

// endpointMain is what subscriptions call: endpoint ADDRESS FILE. For each call a
// line in the file has its type, by how many of the secrets in secrets.txt it is
// signed, and the body. The status is what is in the file "status", if there is one.
func endpointMain() {
	out, err := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		die(err)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m struct{ Type string }
		_ = json.Unmarshal(body, &m)
		signatures := strings.Fields(r.Header.Get("Webhook-Signature"))
		secrets, _ := os.ReadFile("secrets.txt")
		n := 0
		for secret := range strings.FieldsSeq(string(secrets)) {
			key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
			mac := hmac.New(sha256.New, key)
			fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), body)
			if slices.Contains(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))) {
				n++
			}
		}
		fmt.Fprintf(out, "%s signed by %d of %d: %s\n", m.Type, n, len(signatures), body)
		if status, err := os.ReadFile("status"); err == nil {
			var code int
			_, _ = fmt.Sscan(string(status), &code)
			w.WriteHeader(code)
		}
	}
	die((&http.Server{Addr: os.Args[1], Handler: http.HandlerFunc(handler), ReadTimeout: patience}).ListenAndServe())
}

// curlMain is as much of curl as the examples use, for machines without one.
func curlMain() {
	method, target, body := "", "", ""
	header := http.Header{}
	for args := os.Args[1:]; len(args) > 0; args = args[1:] {
		value := func() string { args = args[1:]; return args[0] }
		switch args[0] {
		case "-s":
		case "-X":
			method = value()
		case "-H":
			name, v, _ := strings.Cut(value(), ": ")
			header.Set(name, v)
		case "-d":
			body = value()
		default:
			target = args[0]
		}
	}
	if method == "" {
		if method = http.MethodGet; body != "" {
			method = http.MethodPost
		}
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		die(err)
	}
	req.Header = header
	res, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		die(err)
	}
	_, _ = io.Copy(os.Stdout, res.Body)
	_ = res.Body.Close()
}

// programs are what the test binary is, beside what there is on the machine.
func programs() map[string]func() {
	all := map[string]func(){"wabridge": main, "http": httpMain, "endpoint": endpointMain}
	if _, err := exec.LookPath("curl"); err != nil {
		all["curl"] = curlMain
	}
	return all
}

func TestAPIPage_VerifiesWhatTheReferenceImplementationSigns(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	for _, b := range block.FindAllStringSubmatch(string(page), -1) {
		if b[1] == "js" {
			code = b[2]
		}
	}
	// The signature was made with github.com/standard-webhooks/standard-webhooks/libraries v0.0.1.
	code += `
		Date.now = () => 1614265330 * 1000;
		const headers = { "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
			"webhook-signature": "v1,bm90aGluZw== v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" };
		const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
		console.log(verify(secret, headers, '{"test": 2432232314}'), verify(secret, headers, '{"test": 2432232315}'));
		console.log(verify("whsec_bm90aGluZw==", headers, '{"test": 2432232314}'));
		Date.now = () => (1614265330 + 301) * 1000;
		console.log(verify(secret, headers, '{"test": 2432232314}'));`
	cmd := exec.CommandContext(t.Context(), "node", "--input-type=module", "-")
	cmd.Stdin = strings.NewReader(code)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if out, err := cmd.Output(); err != nil || strings.Join(strings.Fields(string(out)), ",") != "true,false,false,false" {
		t.Errorf("%s %v %s", out, err, &stderr)
	}
}

func TestAPIPage_NamesTheKindsOfSubscriptions(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(page), "\n| `kinds` | ")
	row, _, _ = strings.Cut(row, ". None: ")
	var want []string
	for _, kind := range broker.SubscribedKinds() {
		want = append(want, "`"+string(kind)+"`")
	}
	if want := strings.Join(want, ", "); row != want {
		t.Errorf("the kinds are\n%s\nwant\n%s", row, want)
	}
}

package sdk

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/whatsapp"
	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
	"github.com/wabridge/wabridge/plugins/hubspot/hubspotsim"
	"github.com/wabridge/wabridge/plugins/salesforce/salesforcesim"
	"github.com/wabridge/wabridge/plugins/zoho/zohosim"
)

var clients = flag.String("sdk.clients", "", "the `DIR` that npm installed the vendors' clients into")

// run serves a vendor and lets a script of this directory talk to it. What the
// script has in its environment beside PATH is env.
func run(t *testing.T, script string, vendor http.Handler, env ...string) {
	t.Helper()
	if *clients == "" {
		t.Skip("the vendors' clients are needed: make sdk installs them and runs this")
	}
	t.Parallel()
	runNow(t, script, vendor, env...)
}

// runNow is run, while nothing else of the test's goes on.
func runNow(t *testing.T, script string, vendor http.Handler, env ...string) {
	t.Helper()
	if *clients == "" {
		t.Skip("the vendors' clients are needed: make sdk installs them and runs this")
	}
	server := httptest.NewServer(vendor)
	defer server.Close()
	// Node finds modules beside the script.
	dir := t.TempDir()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, script), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(*clients, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "--no-deprecation", "--test-reporter=spec", script, server.URL)
	cmd.Dir = dir
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	if !strings.Contains(string(out), "fail 0") {
		t.Errorf("%s tested nothing:\n%s", script, out)
	}
}

func TestHubSpotsClient_FindsHubSpot(t *testing.T) {
	const url, secret = "https://bridge.example/hooks/crm?a=b", "s3cret"
	hook, err := hubspotsim.Hook(t.Context(), url, secret, hubspotsim.HookEvent{EventID: 1, SubscriptionType: "contact.propertyChange", ObjectID: 7, PropertyValue: "ñ"})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(hook.Body)
	if err != nil {
		t.Fatal(err)
	}
	told, err := json.Marshal(map[string]string{"url": url, "secret": secret, "body": string(body), "timestamp": hook.Header.Get("X-HubSpot-Request-Timestamp"),
		"v1": hook.Header.Get("X-HubSpot-Signature"), "v3": hook.Header.Get("X-HubSpot-Signature-v3")})
	if err != nil {
		t.Fatal(err)
	}
	run(t, "hubspot.mjs", hubspotsim.New(hubspotsim.Options{Tokens: []string{"pat-sdk"}, ClientID: "app", ClientSecret: "secret", RefreshTokens: []string{"refresh"}, History: []string{"phone"}}), "HOOK="+string(told))
}

func TestSalesforcesClient_FindsAnOrg(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	const client, secret, user, refresh = "3MVG9.sdk", "s3cret", "bridge@example.com", "5Aep861.sdk"
	app, err := json.Marshal(map[string]string{"client": client, "secret": secret, "user": user, "refresh": refresh,
		"key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	if err != nil {
		t.Fatal(err)
	}
	run(t, "salesforce.mjs", salesforcesim.New(salesforcesim.Options{ClientID: client, ClientSecret: secret, Username: user,
		PublicKey: &key.PublicKey, RefreshTokens: []string{refresh}}), "APP="+string(app))
}

// What the imitation tells goes to the bridge's webhook first, and then to one that
// others wrote: both take the same bodies, or it is told again.
func TestWhatsAppClients_FindMeta(t *testing.T) {
	const secret, number, fresh, waba = "app-secret", "106540352242922", "106540352242923", "102290129340398"
	var taken atomic.Int64
	hook := whatsapp.NewWebhook(whatsapp.WebhookOptions{
		VerifyToken: "verify", AppSecrets: func() []core.Secret { return []core.Secret{secret} }, MaxInFlight: 8, Log: slog.New(slog.DiscardHandler),
		Accept: func(_ context.Context, updates []whatsapp.Update) error {
			for _, u := range updates {
				if u.Event.Kind == core.KindUnknown {
					t.Errorf("the bridge does not know %s", u.Event.Raw)
				}
			}
			taken.Add(int64(len(updates)))
			return nil
		},
	})
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_ = ln.Close() // for the script's own server
	theirs := &http.Client{Timeout: 10 * time.Second}
	both := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		ours := httptest.NewRecorder()
		hook.ServeHTTP(ours, r)
		if ours.Code != http.StatusOK {
			t.Errorf("the bridge answers %d: %s", ours.Code, body)
		}
		to, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://127.0.0.1:"+port+"/", bytes.NewReader(body))
		if err == nil {
			to.Header = r.Header.Clone()
			var resp *http.Response
			if resp, err = theirs.Do(to); err == nil {
				_ = resp.Body.Close()
				w.WriteHeader(resp.StatusCode)
				return
			}
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer both.Close()
	sim := whatsappsim.New(whatsappsim.Options{
		AppSecret: secret, VerifyToken: "verify", AccessTokens: []string{"token"}, WebhookURL: both.URL, EnforceWindow: true, RetryMin: 10 * time.Millisecond,
		Webhooks: whatsappsim.Webhooks{Escape: 1},
		Numbers: []whatsappsim.Number{{ID: number, DisplayNumber: "15550783881", WABA: waba},
			{ID: fresh, DisplayNumber: "15550783882", WABA: waba, New: true}},
		Templates: []whatsappsim.Template{{Name: "hello_world", Language: "en_US"}, {Name: "offer", Language: "es", BodyParameters: -1}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = sim.Run(ctx) }()
	defer func() { cancel(); <-done }()
	runNow(t, "whatsapp.mjs", sim, "PORT="+port, "SECRET="+secret, "NUMBER="+number, "FRESH="+fresh, "WABA="+waba)
	if taken.Load() < 20 {
		t.Errorf("the bridge took %d updates", taken.Load())
	}
}

func TestZohosClient_FindsZoho(t *testing.T) {
	run(t, "zoho.mjs", zohosim.New(zohosim.Options{ClientID: "1000.SDK", ClientSecret: "secret", RefreshToken: "1000.refresh"}))
}

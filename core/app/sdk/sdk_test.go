package sdk

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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

func TestZohosClient_FindsZoho(t *testing.T) {
	run(t, "zoho.mjs", zohosim.New(zohosim.Options{ClientID: "1000.SDK", ClientSecret: "secret", RefreshToken: "1000.refresh"}))
}

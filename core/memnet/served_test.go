package memnet_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wabridge/wabridge/core/memnet"
)

func TestServe_RemembersWhatItWasAsked(t *testing.T) {
	s := memnet.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	client := &http.Client{Transport: &http.Transport{DialContext: s.DialContext}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/a?b=c", "/d"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:8080"+path, strings.NewReader(path))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if _ = resp.Body.Close(); string(body) != path {
			t.Errorf("the handler got %q", body)
		}
	}
	if want := []string{"POST /a?b=c", "POST /d"}; !slices.Equal(s.Lines(), want) || string(s.Requests()[1].Body) != "/d" {
		t.Errorf("it remembers %q", s.Lines())
	}
	if s.Forget(); len(s.Requests()) != 0 {
		t.Error("it does not forget")
	}
}

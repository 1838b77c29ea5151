package whatsappsim_test

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/whatsapp/whatsappsim"
)

type fileAnswer struct{ ID, URL, SHA256 string }

func upload(s *whatsappsim.Sim, mimeType string, data []byte) *httptest.ResponseRecorder {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("messaging_product", "whatsapp")
	_ = w.WriteField("type", mimeType)
	part, _ := w.CreateFormFile("file", "a")
	_, _ = part.Write(data)
	_ = w.Close()
	return ask(s, "POST", "/v25.0/"+number+"/media", form.String(), "Content-Type", w.FormDataContentType())
}

func fileOf(t *testing.T, w *httptest.ResponseRecorder) (f fileAnswer) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return f
}

func TestFiles_AreTakenByTypeAndSize(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	const png = "\x89PNG\r\n\x1a\n"
	for _, test := range []struct {
		name, mimeType, data string
		code                 int
	}{
		{"a picture", "image/png", png, 0},
		{"one of the most bytes", "image/png", png + strings.Repeat("x", 5<<20-len(png)), 0},
		{"one of a byte more", "image/png", png + strings.Repeat("x", 5<<20-len(png)+1), 131053},
		{"another than it is said to be", "image/jpeg", png, 131053},
		{"a type that is not taken", "application/zip", "PK", 100},
		{"with a codec", "audio/ogg; codecs=opus", "OggS", 0},
	} {
		if got := read(t, upload(s, test.mimeType, []byte(test.data))); got.Error.Code != test.code {
			t.Errorf("%s: %+v, want %d", test.name, got.Error, test.code)
		}
	}
	if s.Uploads() != 3 {
		t.Errorf("%d uploads", s.Uploads())
	}
}

func TestFiles_DieAndTheirAddressesBefore(t *testing.T) {
	s := whatsappsim.New(whatsappsim.Options{})
	s.StopClock()
	f := fileOf(t, upload(s, "image/png", []byte("\x89PNG\r\n\x1a\n")))
	find := func() *httptest.ResponseRecorder { return ask(s, "GET", "/v25.0/"+f.ID+"?phone_number_id="+number, "") }
	address := fileOf(t, find()).URL
	s.Advance(5*time.Minute - time.Second)
	if got := ask(s, "GET", address, ""); got.Code != 200 {
		t.Errorf("within five minutes: %d", got.Code)
	}
	s.Advance(time.Second)
	if got := ask(s, "GET", address, ""); got.Code != 404 {
		t.Errorf("after five minutes: %d", got.Code)
	}
	if got := ask(s, "GET", fileOf(t, find()).URL, "", "Authorization", ""); got.Code != 404 {
		t.Errorf("without a token: %d", got.Code)
	}
	if got := read(t, ask(s, "GET", "/v25.0/"+f.ID+"?phone_number_id=1", "")); got.Error.Subcode != 33 {
		t.Errorf("for another number: %+v", got)
	}
	image := `{"messaging_product":"whatsapp","to":"+34600111222","type":"image","image":{"id":"` + f.ID + `"}}`
	if got := send(s, image); got.Code != 200 {
		t.Errorf("sent: %s", got.Body)
	}
	s.Advance(30*24*time.Hour - 5*time.Minute)
	if got := read(t, find()); got.Error.Subcode != 33 {
		t.Errorf("after thirty days: %+v", got)
	}
	if got := read(t, send(s, image)); got.Error.Code != 131053 {
		t.Errorf("sent after thirty days: %+v", got)
	}
}

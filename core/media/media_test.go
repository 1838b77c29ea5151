package media

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func put(t *testing.T, f *Files, text string) File {
	t.Helper()
	got, err := f.Put("acme", strings.NewReader(text), 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFiles_KeepWhatIsTheSameOnce(t *testing.T) {
	dir := t.TempDir()
	f := NewFiles(dir)
	a, b := put(t, f, "<html>one"), put(t, f, "<html>one")
	if a != b || a.Size != 9 || a.Type != "text/html; charset=utf-8" {
		t.Errorf("%+v, %+v", a, b)
	}
	file, err := f.Open("acme", a.Hash)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(file)
	if err = errors.Join(err, file.Close()); err != nil || string(data) != "<html>one" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := f.Open("other", a.Hash); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another tenant opens it: %v", err)
	}
	if _, err := f.Open("..", a.Hash); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is no tenant: %v", err)
	}
}

func TestFiles_KeepNothingOfWhatTheyRefuse(t *testing.T) {
	dir := t.TempDir()
	f := NewFiles(dir)
	sum := sha256.Sum256([]byte("wanted"))
	if _, err := f.Put("acme", strings.NewReader("other!"), 6, sum[:]); !errors.Is(err, ErrOther) {
		t.Errorf("another: %v", err)
	}
	if _, err := f.Put("acme", strings.NewReader("too long"), 7, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	broken := errors.New("broken")
	if _, err := f.Put("acme", io.MultiReader(strings.NewReader("half"), errReader{broken}), 10, nil); !errors.Is(err, broken) {
		t.Errorf("broken off: %v", err)
	}
	if _, err := f.Put("acme", strings.NewReader("wanted"), 6, sum[:]); err != nil {
		t.Errorf("the wanted one: %v", err)
	}
	if got, _ := filepath.Glob(filepath.Join(dir, "acme", "*")); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestFiles_AreSweptWhenOldAndUnused(t *testing.T) {
	dir := t.TempDir()
	f := NewFiles(dir)
	used, unused, young := put(t, f, "used"), put(t, f, "unused"), put(t, f, "young")
	unfinished := filepath.Join(dir, "acme", prefixUnfinished+"1")
	foreign := filepath.Join(dir, "acme", "README")
	for _, path := range []string{unfinished, foreign} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for _, path := range []string{unfinished, foreign, filepath.Join(dir, "acme", used.Hash[:2], used.Hash), filepath.Join(dir, "acme", unused.Hash[:2], unused.Hash)} {
		if err := os.Chtimes(path, now, now.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	n, size, err := f.Sweep("acme", now.Add(-time.Minute), func(hash string) (bool, error) { return hash == used.Hash, nil })
	if err != nil || n != 2 || size != 7 {
		t.Errorf("swept %d, %d bytes, %v", n, size, err)
	}
	if !f.Has("acme", used.Hash) || !f.Has("acme", young.Hash) || f.Has("acme", unused.Hash) {
		t.Error("the wrong ones went")
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("what is not the bridge's: %v", err)
	}
	if _, err := os.Stat(unfinished); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was not finished: %v", err)
	}
	// What is put again is young.
	put(t, f, "used")
	if n, _, _ := f.Sweep("acme", now.Add(-time.Minute), func(string) (bool, error) { return false, nil }); n != 0 || !f.Has("acme", used.Hash) {
		t.Errorf("%d swept that were put again", n)
	}
}

func TestFiles_AreOverwrittenWhenRemoved(t *testing.T) {
	dir := t.TempDir()
	f := NewFiles(dir)
	secret := put(t, f, "my secret")
	file, err := f.Open("acme", secret.Hash)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := errors.Join(f.Remove("acme", secret.Hash), f.Remove("acme", secret.Hash)); err != nil {
		t.Fatal(err)
	}
	if data, _ := io.ReadAll(file); !bytes.Equal(data, make([]byte, 9)) || f.Has("acme", secret.Hash) {
		t.Errorf("left %q", data)
	}
}

func TestLinks_AreGoodForWhatTheySayUntilThen(t *testing.T) {
	l := NewLinks([]byte("secret"), func() string { return "https://bridge.example/" })
	now := time.Unix(1_800_000_000, 0)
	url := l.URL("acme", "5e", now.Add(time.Hour))
	want := "https://bridge.example/media/acme/5e?exp=1800003600&sig="
	if !strings.HasPrefix(url, want) {
		t.Fatalf("%s", url)
	}
	sig := strings.TrimPrefix(url, want)
	for _, test := range []struct {
		name, tenant, hash, exp, sig string
		at                           time.Time
		good                         bool
	}{
		{"in time", "acme", "5e", "1800003600", sig, now.Add(time.Hour - time.Second), true},
		{"expired", "acme", "5e", "1800003600", sig, now.Add(time.Hour), false},
		{"another tenant", "acm", "5e", "1800003600", sig, now, false},
		{"another file", "acme", "5f", "1800003600", sig, now, false},
		{"a later end", "acme", "5e", "1800003601", sig, now, false},
		{"no signature", "acme", "5e", "1800003600", "", now, false},
	} {
		if got := l.Good(test.tenant, test.hash, test.exp, test.sig, test.at); got != test.good {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	if NewLinks([]byte("another"), nil).Good("acme", "5e", "1800003600", sig, now) {
		t.Error("good with another key")
	}
}

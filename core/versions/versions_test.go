package versions

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func version(hash, text string) Version {
	return Version{Hash: hash, Name: "script.js", Files: map[string][]byte{"script.js": []byte(text), "lib/words.js": []byte("words")}}
}

func keep(t *testing.T, a Archive, v Version, at time.Time) {
	t.Helper()
	if err := a.Keep(v, at); err != nil {
		t.Fatal(err)
	}
}

func TestArchive_GivesBackWhatRan(t *testing.T) {
	a := Of(t.TempDir())
	if all, err := a.List(); len(all) != 0 || err != nil {
		t.Errorf("an empty archive lists %v, %v", all, err)
	}
	keep(t, a, version("aaaa01", "one"), noon)
	keep(t, a, version("aaab02", "two"), noon.Add(time.Hour))
	keep(t, a, version("aaaa01", "one"), noon.Add(2*time.Hour))
	all, err := a.List()
	if err != nil || len(all) != 2 || all[0].Hash != "aaaa01" || !all[0].First.Equal(noon) || !all[0].Last.Equal(noon.Add(2*time.Hour)) {
		t.Errorf("List: %+v, %v", all, err)
	}
	v, err := a.Get("aaab")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(version("", "two").Files, v.Files); diff != "" {
		t.Error(diff)
	}
	if _, err := a.Get("aaa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("three letters: %v", err)
	}
	if _, err := a.Get("bbbb"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
}

func TestArchive_RefusesWhatWasChangedByHand(t *testing.T) {
	dir := t.TempDir()
	a := Of(dir)
	keep(t, a, version("aaaa01", "one"), noon)
	if err := os.WriteFile(filepath.Join(dir, Folder, "aaaa01", "script.js"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Get("aaaa01"); err == nil {
		t.Error("a changed file was taken for what ran")
	}
}

func TestArchive_TakesNoPathsOutOfIt(t *testing.T) {
	a := Of(t.TempDir())
	for _, name := range []string{"../script.js", "/etc/passwd", manifestFile} {
		v := version("aaaa01", "one")
		v.Files[name] = []byte("x")
		if err := a.Keep(v, noon); err == nil {
			t.Errorf("%s was kept", name)
		}
	}
	if err := a.Keep(version("../../x", "one"), noon); err == nil {
		t.Error("a hash that is a path was kept")
	}
}

func TestArchive_KeepsTheLatest(t *testing.T) {
	a := Of(t.TempDir())
	for i := range Most + 3 {
		keep(t, a, version(fmt.Sprintf("aaaa%02d", i), "x"), noon.Add(time.Duration(i)*time.Hour))
	}
	all, err := a.List()
	if err != nil || len(all) != Most || all[0].Hash != fmt.Sprintf("aaaa%02d", Most+2) || all[Most-1].Hash != "aaaa03" {
		t.Errorf("%d are kept, from %s to %s, %v", len(all), all[0].Hash, all[len(all)-1].Hash, err)
	}
}

func TestSwap_IsAllOrNothingForWhoAsks(t *testing.T) {
	dir := t.TempDir()
	a := Of(dir)
	keep(t, a, version("aaaa01", "one"), noon)
	two := Version{Hash: "aaaa02", Name: "script.js", Files: map[string][]byte{"script.js": []byte("two")}}
	keep(t, a, two, noon)
	if err := a.Swap("aaaa01", dir, nil); err != nil {
		t.Fatal(err)
	}
	// A folder in the way of a file: the swap cannot be ended.
	if err := os.Mkdir(filepath.Join(dir, "blocked"), 0o700); err != nil {
		t.Fatal(err)
	}
	three := version("aaaa03", "three")
	three.Files["blocked"] = []byte("x")
	keep(t, a, three, noon)
	if err := a.Swap("aaaa03", dir, nil); err == nil {
		t.Fatal("a folder was replaced by a file")
	}
	if v, ok := a.Swapping(); !ok || v.Hash != "aaaa03" || string(v.Files["script.js"]) != "three" {
		t.Errorf("interrupted: %v, %v", v, ok)
	}
	if err := a.Swap("aaaa02", dir, []string{"script.js", "lib/words.js"}); err != nil {
		t.Fatal(err)
	}
	if v, ok := a.Swapping(); ok {
		t.Errorf("still swapping to %s", v.Hash)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "script.js")); string(data) != "two" {
		t.Errorf("script.js is %q, %v", data, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lib/words.js")); !os.IsNotExist(err) {
		t.Errorf("a file of the version before is left: %v", err)
	}
}

func TestKeep_TakesTestsThatAreNew(t *testing.T) {
	a := Of(t.TempDir())
	first, again := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	keep := func(at time.Time, files ...string) {
		t.Helper()
		v := Version{Hash: "0123456789ab", Name: "script.ts", Files: map[string][]byte{}}
		for _, name := range files {
			v.Files[name] = []byte("// " + name)
		}
		if err := a.Keep(v, at); err != nil {
			t.Fatal(err)
		}
	}
	keep(first, "script.ts")
	keep(again, "script.ts", "script.test.ts")
	keep(again, "script.ts") // as the bridge does, which has no use for tests
	keep(again, "script.ts", "other.test.ts")
	keep(again, "script.ts", "script.test.ts")
	v, err := a.Get("0123")
	if err != nil || len(v.Files) != 2 || !v.First.Equal(first) || !v.Last.Equal(again) {
		t.Errorf("%+v, %v", v, err)
	}
}

package versions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/wabridge/wabridge/core/durable"
)

// What becomes of a shadow when its time is over.
const (
	ThenAsk    = "ask"
	ThenDeploy = "deploy"
)

// Shadow is a version that decides beside the one at work, and whose decisions are
// thrown away. It is kept apart from the versions that ran.
type Shadow struct {
	Version
	// Until is when it ends, Then what is done: ThenAsk or ThenDeploy.
	Until time.Time `json:"until"`
	Then  string    `json:"then"`
	// Ended is when it ended; zero while it runs.
	Ended time.Time `json:"ended,omitzero"`
}

const (
	shadowFolder = "shadow"
	shadowReport = ".report.json" // no script has such a file
	maxReport    = 8 << 20
)

// SetShadow has a version decide in the shadow from a time on, in the place of any
// that did.
func (a Archive) SetShadow(s Shadow, at time.Time) error {
	if err := a.setShadow(s, at); err != nil {
		return fmt.Errorf("versions: shadow %s: %w", s.Hash, err)
	}
	return nil
}

func (a Archive) setShadow(s Shadow, at time.Time) error {
	s.First, s.Last = at.UTC().Truncate(time.Second), at.UTC().Truncate(time.Second)
	tmp, err := a.lay(&s.Version)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := writeShadow(filepath.Join(tmp, manifestFile), s); err != nil {
		return err
	}
	if err := a.EndShadow(); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(a.dir, shadowFolder))
}

func writeShadow(path string, s Shadow) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'))
}

// Shadow returns the version that decides in the shadow, or did until its time was
// over; false when there is none. Stamp changes when another is set.
func (a Archive) Shadow() (s Shadow, stamp string, ok bool, err error) {
	path := filepath.Join(a.dir, shadowFolder, manifestFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, "", false, nil
	}
	var data []byte
	if err == nil {
		data, err = readFile(path, maxManifest)
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err == nil {
		s.Files, err = a.files(shadowFolder, s.Sums)
	}
	if err != nil {
		return s, "", false, fmt.Errorf("versions: shadow: %w", err)
	}
	return s, fmt.Sprint(s.Hash, info.ModTime().UnixNano()), true, nil
}

// ShadowOver notes that the shadow of a hash ended.
func (a Archive) ShadowOver(hash string, at time.Time) error {
	s, _, ok, err := a.Shadow()
	if err != nil || !ok || s.Hash != hash {
		return err
	}
	s.Ended = at.UTC().Truncate(time.Second)
	return writeShadow(filepath.Join(a.dir, shadowFolder, manifestFile), s)
}

// EndShadow removes the shadow and its report, if there is one.
func (a Archive) EndShadow() error { return os.RemoveAll(filepath.Join(a.dir, shadowFolder)) }

// KeepReport writes what was seen of the shadow of a hash beside it.
func (a Archive) KeepReport(report any) error {
	data, err := json.Marshal(report)
	if err != nil {
		return err
	}
	err = durable.WriteFile(filepath.Join(a.dir, shadowFolder, shadowReport), data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was ended meanwhile
	}
	return err
}

// Report reads that into v; false when there is none yet.
func (a Archive) Report(v any) bool {
	data, err := readFile(filepath.Join(a.dir, shadowFolder, shadowReport), maxReport)
	return err == nil && json.Unmarshal(data, v) == nil
}

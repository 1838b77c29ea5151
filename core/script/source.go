package script

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/wabridge/wabridge/core"
)

// Hash is short and the same for the same source.
func (s Source) Hash() string {
	sum := sha256.Sum256(append([]byte(path.Base(s.Name)+"\x00"), s.Code...))
	return hex.EncodeToString(sum[:6])
}

// ReadSource reads a script from disk.
func ReadSource(file string) (Source, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > 2*MaxSource {
		err = fmt.Errorf("%s is larger than %d KiB", file, MaxSource>>10)
	}
	if err != nil {
		return Source{}, core.Errorf(core.CodeInvalid, "script", "%w", err)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		return Source{}, core.Errorf(core.CodeInvalid, "script", "%w", err)
	}
	return Source{Name: filepath.Base(file), Code: code}, nil
}

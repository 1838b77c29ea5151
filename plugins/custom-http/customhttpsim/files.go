package customhttpsim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
)

// filesRoute takes a file, and what is in a form beside it.
const filesRoute = "POST /v1/files"

// createFile takes a file as the body, or as the part file of a form.
func (s *Sim) createFile(c *call, _ string) (int, any, *refusal) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil {
		return 0, nil, refuse(http.StatusUnsupportedMediaType, "media_type", "want a Content-Type")
	}
	fields := map[string]any{"type": kind}
	file := c.body
	if kind == "multipart/form-data" {
		var refused *refusal
		if file, refused = readForm(c, params["boundary"], fields); refused != nil {
			return 0, nil, refused
		}
	}
	if len(file) == 0 {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "required", "file is required")
	}
	sum := sha256.Sum256(file)
	fields["size"], fields["sha256"] = len(file), hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.once(c, func() (int, any, *refusal) {
		r := s.add("file", "")
		r.Fields, r.Writes = fields, 1
		return http.StatusCreated, map[string]any{"ok": true, "file": map[string]string{"id": r.ID, "url": "https://files.crm.test/" + r.ID}}, nil
	})
}

// readForm returns the part file, whose name and type, and the other parts, become fields.
func readForm(c *call, boundary string, fields map[string]any) (file []byte, _ *refusal) {
	form := multipart.NewReader(bytes.NewReader(c.body), boundary)
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return file, nil
		}
		var data []byte
		if err == nil {
			data, err = io.ReadAll(part)
		}
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "malformed", "%v", err)
		}
		if part.FormName() == "file" {
			file, fields["name"], fields["type"] = data, part.FileName(), part.Header.Get("Content-Type")
		} else {
			fields[part.FormName()] = string(data)
		}
	}
}

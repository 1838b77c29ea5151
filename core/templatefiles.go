package core

import (
	"bytes"
	"encoding/json"
)

// NamedFile is a file of the bridge's that a template's components name by its hash, as in
// {"type":"image","image":{"hash":"…"}}: a header's, or that of a card's.
type NamedFile struct {
	Type MessageType // image, video or document
	Hash string
	ID   string // at WhatsApp; "" before it is there
	Link string // "", or it is named in two ways
}

// Files are those that the components name by their hash, each once, in their order.
func (t *Template) Files() []NamedFile {
	var out []NamedFile
	seen := map[NamedFile]bool{}
	_, _ = t.eachFile(func(f NamedFile, _ map[string]any) {
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	})
	return out
}

// WithFiles returns the template with the ids, by hash, that its files have at WhatsApp.
func (t *Template) WithFiles(ids map[string]string) *Template {
	components, ok := t.eachFile(func(f NamedFile, file map[string]any) {
		if id := ids[f.Hash]; id != "" {
			file["id"] = id
		}
	})
	if !ok {
		return t
	}
	out := *t
	out.Components = components
	return &out
}

// sent are the components as WhatsApp takes them: a file has its id there, or, until it is
// there, its hash in the id's place.
func (t *Template) sent() json.RawMessage {
	if t == nil {
		return nil
	}
	components, ok := t.eachFile(func(f NamedFile, file map[string]any) {
		delete(file, "hash")
		if f.ID == "" {
			file["id"] = f.Hash
		}
	})
	if !ok {
		return t.Components
	}
	return components
}

// eachFile calls f with each file that the components name by its hash, and with the object
// that does, which f may change. It returns the components as they are then; false when they
// name none.
func (t *Template) eachFile(f func(NamedFile, map[string]any)) (json.RawMessage, bool) {
	if t == nil || !bytes.Contains(t.Components, []byte(`"hash"`)) {
		return nil, false
	}
	var all []any
	d := json.NewDecoder(bytes.NewReader(t.Components))
	d.UseNumber() // what else is there stays as it is
	if d.Decode(&all) != nil {
		return nil, false
	}
	found := false
	inParts(all, func(p map[string]any) {
		kind, _ := p["type"].(string)
		switch kind {
		case "image", "video", "document":
		default:
			return
		}
		file, _ := p[kind].(map[string]any)
		hash, _ := file["hash"].(string)
		if hash == "" {
			return
		}
		found = true
		id, _ := file["id"].(string)
		link, _ := file["link"].(string)
		f(NamedFile{Type: MessageType(kind), Hash: hash, ID: id, Link: link}, file)
	})
	if !found {
		return nil, false
	}
	out, err := json.Marshal(all)
	return out, err == nil
}

// inParts calls f with each parameter of components, and of those of their cards.
func inParts(components []any, f func(parameter map[string]any)) {
	for _, c := range components {
		c, _ := c.(map[string]any)
		parameters, _ := c["parameters"].([]any)
		for _, p := range parameters {
			if p, ok := p.(map[string]any); ok {
				f(p)
			}
		}
		cards, _ := c["cards"].([]any)
		for _, card := range cards {
			card, _ := card.(map[string]any)
			if of, ok := card["components"].([]any); ok {
				inParts(of, f)
			}
		}
	}
}

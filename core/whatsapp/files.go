package whatsapp

import (
	"path"
	"strings"

	"github.com/wabridge/wabridge/core"
)

// The files that WhatsApp takes: by their type, the kind of message that they go in, their
// most bytes, and how their names usually end.
//
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
var fileTypes = []struct {
	mime string
	as   core.MessageType
	most int64
	ends string
}{
	{"image/jpeg", core.TypeImage, 5 << 20, ".jpg .jpeg"},
	{"image/png", core.TypeImage, 5 << 20, ".png"},
	{"image/webp", core.TypeSticker, 500 << 10, ".webp"}, // 100 KB of one that does not move: WhatsApp says so
	{"audio/aac", core.TypeAudio, 16 << 20, ".aac"},
	{"audio/amr", core.TypeAudio, 16 << 20, ".amr"},
	{"audio/mpeg", core.TypeAudio, 16 << 20, ".mp3"},
	{"audio/mp4", core.TypeAudio, 16 << 20, ".m4a"},
	{"audio/ogg", core.TypeAudio, 16 << 20, ".ogg .oga .opus"},
	{"video/mp4", core.TypeVideo, 16 << 20, ".mp4"},
	{"video/3gpp", core.TypeVideo, 16 << 20, ".3gp"},
	{"application/pdf", core.TypeDocument, MaxMedia, ".pdf"},
	{"text/plain", core.TypeDocument, MaxMedia, ".txt"},
	{"application/msword", core.TypeDocument, MaxMedia, ".doc"},
	{"application/vnd.ms-excel", core.TypeDocument, MaxMedia, ".xls"},
	{"application/vnd.ms-powerpoint", core.TypeDocument, MaxMedia, ".ppt"},
	{"application/vnd.openxmlformats-officedocument.wordprocessingml.document", core.TypeDocument, MaxMedia, ".docx"},
	{"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", core.TypeDocument, MaxMedia, ".xlsx"},
	{"application/vnd.openxmlformats-officedocument.presentationml.presentation", core.TypeDocument, MaxMedia, ".pptx"},
}

// FileType says of what type a file is: that of its first bytes where these tell (pictures
// and PDF), else as it is said to be, else by how its name ends.
func FileType(said, name, looks string) string {
	said, looks = baseType(said), baseType(looks)
	if isPlain(looks) {
		return looks
	}
	if said == "" || said == "application/octet-stream" {
		end := strings.ToLower(path.Ext(name))
		for _, t := range fileTypes {
			for ending := range strings.FieldsSeq(t.ends) {
				if end == ending {
					return t.mime
				}
			}
		}
		said = looks
	}
	if said == "application/ogg" {
		return "audio/ogg"
	}
	return said
}

// isPlain reports whether a file that looks like a type is of it.
func isPlain(looks string) bool {
	return strings.HasPrefix(looks, "image/") || looks == "application/pdf"
}

func baseType(mimeType string) string {
	base, _, _ := strings.Cut(mimeType, ";")
	return strings.ToLower(strings.TrimSpace(base))
}

// CheckFile reports, with core.CodeInvalid, why WhatsApp does not take a file in a message
// of a type; "" is the type of message that such files go in.
func CheckFile(as core.MessageType, mimeType, looks string, size int64) error {
	base := baseType(mimeType)
	var fit []string
	for _, t := range fileTypes {
		if as == "" && t.mime == base {
			as = t.as
		}
		if t.as != as {
			continue
		}
		if t.mime != base {
			fit = append(fit, t.mime)
			continue
		}
		switch {
		case isPlain(base) && baseType(looks) != base:
			return wrongf("the file is said to be %s, and looks like %.80s", base, looks)
		case size > t.most:
			return wrongf("the file has %d bytes: WhatsApp takes %s of up to %d", size, base, t.most)
		case size == 0:
			return wrongf("the file is empty")
		}
		return nil
	}
	if as == "" {
		return wrongf("WhatsApp takes no files of type %.80q", mimeType)
	}
	err := wrongf("a message of type %s takes no file of type %.80q", as, mimeType)
	err.Hint = "it takes " + strings.Join(fit, ", ")
	return err
}

// FileMessage is the type of message that a file goes in, "" for none.
func FileMessage(mimeType string) core.MessageType {
	for _, t := range fileTypes {
		if t.mime == baseType(mimeType) {
			return t.as
		}
	}
	return ""
}

package boltstore

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt walks the whole file when it opens it, in a goroutine of its own, and
// believes every length that it finds there: a flipped bit in one ends the
// process, with a stack instead of a sentence. So the lengths are checked before.
// The layout is bbolt's version 2: see internal/common in its source.
const (
	pageHeader    = 16
	elementSize   = 16
	bucketHeader  = 16
	metaSize      = 64
	metaMagic     = 0xED0CDAED
	flagBranch    = 0x01
	flagLeaf      = 0x02
	flagBucket    = 0x01 // of a leaf's element
	maxPageDepth  = 64
	maxPageMemory = 1 << 30 // of one page with its overflow
)

var le = binary.NativeEndian

// pages checks the pages of a file that are reachable.
type pages struct {
	f    io.ReaderAt
	size int64 // of a page
	high uint64
	seen map[uint64]bool
}

// checkPages reports ErrDamaged when what bbolt would follow in a file leads out
// of it, or in circles. A file without a valid meta page is left to bbolt, which
// says so itself.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	root, p, ok := readMeta(f)
	if !ok {
		return nil
	}
	return p.page(root, 0)
}

// readMeta finds the newer valid meta page.
func readMeta(f io.ReaderAt) (root uint64, p *pages, ok bool) {
	var newest uint64
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		b := make([]byte, pageHeader+metaSize)
		if _, err := f.ReadAt(b, at); err != nil {
			continue
		}
		m := b[pageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:56])
		if le.Uint32(m) != metaMagic || le.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		if tx := le.Uint64(m[48:]); !ok || tx > newest {
			newest, root, ok = tx, le.Uint64(m[16:]), true
			p = &pages{f: f, size: int64(le.Uint32(m[8:])), high: le.Uint64(m[40:]), seen: map[uint64]bool{}}
		}
	}
	return root, p, ok && p.size >= 512
}

func (p *pages) bad(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w: page %d: %s", ErrDamaged, id, fmt.Sprintf(format, args...))
}

// page checks a page and what it leads to.
func (p *pages) page(id uint64, depth int) error {
	if id < 2 || id >= p.high || p.seen[id] || depth > maxPageDepth {
		return p.bad(id, "nothing may lead there")
	}
	head := make([]byte, pageHeader)
	if _, err := p.f.ReadAt(head, int64(id)*p.size); err != nil {
		return p.bad(id, "%v", err)
	}
	n := (int64(le.Uint32(head[12:])) + 1) * p.size
	if n > maxPageMemory {
		return p.bad(id, "too large")
	}
	for i := range uint64(n / p.size) {
		p.seen[id+i] = true
	}
	b := make([]byte, n)
	if _, err := p.f.ReadAt(b, int64(id)*p.size); err != nil {
		return p.bad(id, "%v", err)
	}
	if le.Uint64(b) != id {
		return p.bad(id, "says that it is page %d", le.Uint64(b))
	}
	return p.content(id, b, depth)
}

// content checks the elements of a page, which may be one within a bucket's
// value.
func (p *pages) content(id uint64, b []byte, depth int) error {
	count := int(le.Uint16(b[10:]))
	if pageHeader+count*elementSize > len(b) {
		return p.bad(id, "%d elements", count)
	}
	for i := range count {
		at := pageHeader + i*elementSize
		e := b[at : at+elementSize]
		switch le.Uint16(b[8:]) {
		case flagBranch:
			if _, ok := within(b[at:], le.Uint32(e), le.Uint32(e[4:])); !ok {
				return p.bad(id, "element %d", i)
			}
			if err := p.page(le.Uint64(e[8:]), depth+1); err != nil {
				return err
			}
		case flagLeaf:
			key, size := le.Uint32(e[8:]), le.Uint32(e[12:])
			kv, ok := within(b[at:], le.Uint32(e[4:]), key)
			if ok {
				kv, ok = within(kv, key, size)
			}
			if !ok {
				return p.bad(id, "element %d", i)
			}
			if le.Uint32(e)&flagBucket != 0 {
				if err := p.bucket(id, kv[:size], depth); err != nil {
					return err
				}
			}
		default:
			return p.bad(id, "is of no kind")
		}
	}
	return nil
}

// bucket checks the value of a bucket: where its pages begin, or its only page.
func (p *pages) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return p.bad(id, "a bucket of %d bytes", len(value))
	}
	if root := le.Uint64(value); root != 0 {
		return p.page(root, depth+1)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || le.Uint16(inline[8:]) != flagLeaf {
		return p.bad(id, "a bucket without a page")
	}
	return p.content(id, inline, depth+1)
}

// within returns what of b begins at pos, if n bytes of it are there.
func within(b []byte, pos, n uint32) ([]byte, bool) {
	if uint64(pos)+uint64(n) > uint64(len(b)) {
		return nil, false
	}
	return b[pos:], true
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wabridge/wabridge/core/consent"
	"github.com/wabridge/wabridge/core/store"
)

// ConsentProof is a person's entries in the ledgers, and whether the ledgers are
// whole.
type ConsentProof struct {
	Status  ConsentStatus `json:"status"`
	Entries []ProofEntry  `json:"entries"`
	Ledgers []ProofLedger `json:"ledgers"`
	// Whole says that no entry of either ledger was changed, added or removed.
	Whole bool `json:"whole"`
}

// ProofEntry is one entry about the person.
type ProofEntry struct {
	Ledger string    `json:"ledger"`
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"` // when it was recorded
	Hash   string    `json:"hash"`
	consent.Entry
	// Details are the entry's erasable part; nil when they were erased.
	Details *consent.Details `json:"details,omitempty"`
	// Genuine says that the details are those that were recorded.
	Genuine bool `json:"genuine"`
}

// ProofLedger is the state of one ledger.
type ProofLedger struct {
	Ledger string `json:"ledger"`
	Seq    uint64 `json:"seq"`
	// Head is the hash of the last entry: whoever notes it down elsewhere can show
	// later that nothing before it was rewritten.
	Head    string `json:"head"`
	Damaged string `json:"damaged,omitempty"` // what is wrong, naming the first bad entry
}

// ProveConsent returns a person's entries, and checks the tenant's whole ledgers.
func (b *Broker) ProveConsent(ctx context.Context, tenant, who string) (ConsentProof, error) {
	return ConsentProofOf(ctx, b.o.Store, b.o.OpaqueKey, tenant, who)
}

// maxProof bounds the entries of one proof.
const maxProof = 10_000

// ConsentProofOf makes a proof from the store alone. key is Options.OpaqueKey.
func ConsentProofOf(ctx context.Context, s store.Store, key []byte, tenant, who string) (ConsentProof, error) {
	status, err := ConsentOf(ctx, s, tenant, who)
	if err != nil {
		return ConsentProof{}, err
	}
	out := ConsentProof{Status: status, Whole: true, Entries: []ProofEntry{}}
	k := consent.NewKey(key, tenant)
	subjects, err := subjectsOf(ctx, s, k, tenant, status.Contact)
	if err != nil {
		return out, err
	}
	for _, name := range []string{logConsent, logSuppression} {
		head, err := store.VerifyLog(ctx, s, store.LogID{Tenant: tenant, Name: name}, func(le store.LogEntry) error {
			e, ok := decode[consent.Entry](le.Data)
			contact, mine := subjects[e.Subject]
			if !ok || !mine || len(out.Entries) >= maxProof {
				return nil
			}
			values, err := s.Get(ctx, detailsKey(tenant, contact, e.ID))
			if err != nil {
				return err
			}
			p := ProofEntry{Ledger: name, Seq: le.Seq, Time: le.Time, Hash: fmt.Sprintf("%x", le.Hash), Entry: *e}
			if d, ok := decode[consent.Details](values[0]); ok {
				p.Details, p.Genuine = d, k.DetailsHash(e.ID, *d) == e.Details
			}
			out.Entries = append(out.Entries, p)
			return nil
		})
		l := ProofLedger{Ledger: name, Seq: head.Seq, Head: fmt.Sprintf("%x", head.Hash)}
		if errors.Is(err, store.ErrLogDamaged) {
			l.Damaged, out.Whole = err.Error(), false
		} else if err != nil {
			return out, err
		}
		out.Ledgers = append(out.Ledgers, l)
	}
	return out, nil
}

// subjectsOf are the names in the ledger of a contact, and of those that were
// merged into it, whose entries are about the same person.
func subjectsOf(ctx context.Context, s store.Store, k consent.Key, tenant, contact string) (map[string]string, error) {
	const page = 500
	into := map[string]string{}
	for after := ""; ; {
		entries, err := s.Range(ctx, tenant, bucketMerges, after, page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			m, _ := decode[struct {
				Survivor string `json:"survivor"`
			}](e.Value)
			into[e.Key], after = m.Survivor, e.Key
		}
		if len(entries) < page {
			break
		}
	}
	out := map[string]string{k.Subject(contact): contact}
	for id := range into {
		for at, n := id, 0; at != "" && n < 8; n++ { // merged into one that was merged
			if at = into[at]; at == contact {
				out[k.Subject(id)] = id
			}
		}
	}
	return out, nil
}

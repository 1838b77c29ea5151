package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/urfave/cli/v2"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/config"
	"github.com/wabridge/wabridge/core/store/boltstore"
)

// looker answers questions about what is stored: a running bridge does, or,
// when none runs, the data folder itself.
type looker interface {
	Why(ctx context.Context, tenant, id string) (broker.Story, error)
	Consent(ctx context.Context, tenant, who string) (broker.ConsentStatus, error)
	ProveConsent(ctx context.Context, tenant, who string) (broker.ConsentProof, error)
	FindContacts(ctx context.Context, q broker.ContactQuery) (broker.ContactPage, error)
	Contact(ctx context.Context, tenant, who string) (broker.ContactView, error)
	ContactRecords(ctx context.Context, tenant, after string, limit int) (broker.ContactRecords, error)
	ExportContact(ctx context.Context, tenant, who string) (broker.ContactExport, error)
	Templates(ctx context.Context, tenant string) (broker.TemplateList, error)
	Template(ctx context.Context, tenant, name, language string) ([]broker.TemplateStatus, error)
	Decisions(ctx context.Context, q broker.DecisionQuery) (broker.DecisionPage, error)
	Correct(ctx context.Context, r broker.CorrectionRequest) ([]broker.CorrectionReceipt, error)
	Queues(ctx context.Context, tenant string) ([]broker.QueueStatus, error)
	Items(ctx context.Context, tenant, queue string, after uint64, limit int) ([]broker.QueueItem, error)
	Dead(ctx context.Context, tenant, after string, limit int) ([]broker.DeadLetter, error)
	DeadLetter(ctx context.Context, id string) (broker.DeadLetter, error)
}

// look asks the running bridge, or the data folder when no bridge answers.
func look(c *cli.Context, ask func(context.Context, looker) error) error {
	return lookAs(c, c.App.ErrWriter, ask)
}

// lookAs does so, and tells notes where the answers come from when no bridge runs.
func lookAs(c *cli.Context, notes io.Writer, ask func(context.Context, looker) error) error {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	cl := newClient(c, cfg)
	err = ask(c.Context, cl)
	if exitCode(err) != exitUnreachable || c.IsSet("url") {
		return err
	}
	data, openErr := boltstore.OpenReadOnly(cfg.DataDir)
	switch {
	case errors.Is(openErr, fs.ErrNotExist):
		return fail(exitUnreachable, "%w; and there is nothing in %s yet", err, cfg.DataDir)
	case errors.Is(openErr, boltstore.ErrLocked):
		return &exitError{
			code: exitUnreachable, err: err,
			message: fmt.Sprintf("a bridge runs on %s, but not at %s: it was started with another web.listen", cfg.DataDir, cl.base),
			hint:    "say where it is with --url",
		}
	case openErr != nil:
		return openErr
	}
	fmt.Fprintf(notes, "no bridge answers at %s: read from %s\n", cl.base, cfg.DataDir)
	return errors.Join(ask(c.Context, &stored{data, cfg}), data.Close())
}

// stored is the data folder of a bridge that does not run.
type stored struct {
	store *boltstore.Store
	cfg   *config.Config
}

func (s *stored) Why(ctx context.Context, tenant, id string) (broker.Story, error) {
	for _, t := range s.cfg.Tenants {
		if tenant != "" && t.ID != tenant {
			continue
		}
		story, err := broker.History(ctx, s.store, t.ID, id)
		if err != nil {
			return broker.Story{}, err
		}
		if len(story.Steps) == 0 {
			if err := s.toldErased(ctx, t.ID, &story); err != nil {
				return broker.Story{}, err
			}
		}
		if err := s.waiting(ctx, t.ID, &story); err != nil {
			return broker.Story{}, err
		}
		if len(story.Steps)+len(story.Waiting) > 0 {
			return story, nil
		}
	}
	if tenant == "" {
		aside, err := broker.PutAside(ctx, s.store, id)
		if err != nil {
			return broker.Story{}, err
		}
		if aside != nil {
			return broker.Story{}, &exitError{code: exitNotFound, message: aside.Message, hint: aside.Hint}
		}
	}
	return broker.Story{}, fail(exitNotFound, "nothing is remembered of %q", id)
}

// waiting adds what of a story is still in queues.
func (s *stored) waiting(ctx context.Context, tenant string, story *broker.Story) error {
	const most = 1000
	for _, q := range s.store.Stats().Queues {
		if q.Queue.Tenant != tenant {
			continue
		}
		items, err := s.store.Peek(ctx, q.Queue, 0, most)
		if err != nil {
			return err
		}
		for _, it := range items {
			if it.ID == story.ID || core.RootID(it.ID) == story.Root {
				story.Waiting = append(story.Waiting, broker.Waits(it))
			}
		}
	}
	return nil
}

func (s *stored) Decisions(ctx context.Context, q broker.DecisionQuery) (broker.DecisionPage, error) {
	return broker.Decisions(ctx, s.store, q)
}

func (s *stored) Queues(_ context.Context, tenant string) ([]broker.QueueStatus, error) {
	out := []broker.QueueStatus{}
	for _, q := range broker.Queues(s.store.Stats()) {
		if tenant == "" || q.Tenant == tenant {
			out = append(out, q)
		}
	}
	return out, nil
}

func (s *stored) Items(ctx context.Context, tenant, queue string, after uint64, limit int) ([]broker.QueueItem, error) {
	return broker.QueueItems(ctx, s.store, tenant, queue, after, limit)
}

func (s *stored) Dead(ctx context.Context, tenant, after string, limit int) ([]broker.DeadLetter, error) {
	return broker.DeadLetters(ctx, s.store, tenant, after, limit)
}

func (s *stored) DeadLetter(ctx context.Context, id string) (broker.DeadLetter, error) {
	d, found, err := findDead(ctx, s, func(d broker.DeadLetter) bool { return d.ID == id })
	if err == nil && !found {
		err = fail(exitNotFound, "no dead letter %q", id)
	}
	return d, err
}

// findDead returns the first dead letter that is wanted.
func findDead(ctx context.Context, l looker, wanted func(broker.DeadLetter) bool) (broker.DeadLetter, bool, error) {
	after := ""
	for {
		page, err := l.Dead(ctx, "", after, pageSize)
		if err != nil || len(page) == 0 {
			return broker.DeadLetter{}, false, err
		}
		for _, d := range page {
			if wanted(d) {
				return d, true, nil
			}
		}
		after = page[len(page)-1].ID
	}
}

// pageSize is how many entries are asked for at once.
const pageSize = 500

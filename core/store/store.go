// Package store says what the bridge asks of the place where it remembers:
// queues of events on their way, buckets of state, dead letters, the ids it has
// seen and the history of why. There is one verb that changes anything,
// [Store.Settle]: whatever belongs together is in one [Settlement] and happens
// whole or not at all.
//
// The implementation for one machine is package boltstore. What every
// implementation must do is package storetest.
package store

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store.
var (
	// ErrFull: the store takes no new events until there is room again. Nothing
	// of the settlement happened. Only settlements with Ingest get it.
	ErrFull = errors.New("store: full")
	// ErrStale: a delivery in the settlement is no longer the caller's: its
	// lease ran out, or it was settled already; or one to drop is somebody's, or
	// gone. Nothing of the settlement happened.
	ErrStale = errors.New("store: delivery is no longer leased")
	// ErrClosed: the store was closed, or gave up after a commit failed with an
	// unknown outcome. The process must exit; opening again recovers.
	ErrClosed = errors.New("store: closed")
	// ErrNotFound: no such dead letter.
	ErrNotFound = errors.New("store: not found")
)

// QueueID names a queue of one tenant.
type QueueID struct {
	Tenant string
	Name   string
}

// Key names one value in a bucket of one tenant. Buckets come into being when
// written to.
type Key struct {
	Tenant string
	Bucket string
	Key    string
}

// Classes is how many classes of urgency there are, and Share of how many items that
// are handed out at least one is of each class in which something waits.
const (
	Classes = 3
	Share   = 10
)

// Item is what goes into a queue.
type Item struct {
	Queue QueueID
	// ID names the item for people and for the index of ids seen.
	ID string
	// Once drops the item if one with the same tenant, queue and ID was added
	// with Once within the retention of seen ids.
	Once bool
	// Order is the conversation: items with the same Order are handed out one
	// at a time, in the order in which they were added; an item that waits for
	// its next attempt holds back only later items of its Order. Empty: none.
	Order string
	// Class is how urgent it is, 0 the most, Classes-1 the least: of what is due, the most
	// urgent is handed out first, but to every class in which something waits goes at
	// least one of Share. An item that holds back a more urgent one of its Order is
	// as urgent as that.
	Class int
	// Due is the earliest time to hand it out; zero is now.
	Due time.Time
	// Data is stored. The caller must not change it afterwards.
	Data []byte
	// Value is kept beside Data while memory allows, and never stored: the
	// parsed form, so that it need not be parsed again. May be nil.
	Value any
}

// Delivery is an item handed out for one attempt, under a lease. Deliveries
// are compared by Queue, Seq and Lease.
type Delivery struct {
	Queue QueueID
	Seq   uint64 // the item's place in its queue
	Lease uint64 // fences: a later handing out has another
	ID    string
	Order string
	Data  []byte
	Value any // as added, or nil
	// Attempt counts the attempts that count: 1 for the first.
	Attempt int
	// Mark is what Settlement.Mark last stored with the item; nil at first.
	Mark []byte
	// Added is when the item was added.
	Added time.Time
}

// Nak ends an attempt that is to be made again.
type Nak struct {
	Delivery Delivery
	// Due is when to hand it out again; zero is at once.
	Due time.Time
	// Counts says that the attempt counts: the next has Attempt one higher.
	Counts bool
	// Mark replaces the stored mark; nil keeps it, empty clears it.
	Mark []byte
}

// Mark stores a note with an item without ending the attempt.
type Mark struct {
	Delivery Delivery
	Mark     []byte
}

// Term ends a delivery for good: the item becomes a dead letter.
type Term struct {
	Delivery Delivery
	// Reason is stored with the dead letter: JSON.
	Reason []byte
	// Deadline is when a person should have settled it.
	Deadline time.Time
}

// Put writes one value to a bucket.
type Put struct {
	Key Key
	// Value nil deletes.
	Value []byte
	// Expires is when the value may be dropped; zero is never. Values are gone
	// at the latest one hour after.
	Expires time.Time
}

// Record is one entry of the history.
type Record struct {
	Tenant string
	// IDs are what the record is found by.
	IDs  []string
	Time time.Time
	Data []byte
}

// HistoryQuery asks for many records of the history, a page at a time.
type HistoryQuery struct {
	Tenant string
	// ID is one that the records carry: of those found by many ids, one that
	// they share.
	ID string
	// From and To bound the records' times: from From on, before To. Zero is no
	// bound. A record whose time differs by more than an hour from those stored
	// beside it may be left out.
	From, To time.Time
	// After is the place after which to go on: 0, or what the page before
	// returned.
	After uint64
	// Limit is how many records a page has at most. One has fewer when they are
	// large.
	Limit int
}

// Settlement is everything that happens together.
type Settlement struct {
	// Ingest marks a settlement that brings new work into the bridge: refused
	// with ErrFull while the store is short of room, so that what is already
	// inside can be finished.
	Ingest bool
	// Lazy returns before the commit: the settlement is taken in order, its
	// effects are visible to Fetch and Get, and it is durable within 50 ms or
	// with the next settlement that is not lazy. If the process dies before
	// that, it did not happen. For what is harmless to repeat.
	Lazy bool

	Add    []Item
	Ack    []Delivery
	Nak    []Nak
	Mark   []Mark
	Term   []Term
	Put    []Put
	Append []Append
	Record []Record
	// Replay returns dead letters to their queues, with their attempts at zero
	// and no mark; Resolve drops them. Unknown ids are ErrNotFound.
	Replay  []string
	Resolve []string
	// Drop takes items out of their queues that nobody has, and that nobody will
	// get any more: by Queue and Seq, as Peek lists them. One that is handed out, or
	// gone already, is ErrStale.
	Drop []Delivery
}

// Outcome says what a settlement did.
type Outcome struct {
	// Added has one entry per Settlement.Add: false when it was dropped because
	// it was seen before.
	Added []bool
	// Appended has one entry per Settlement.Append: its sequence number.
	Appended []uint64
}

// DeadLetter is an item given up on.
type DeadLetter struct {
	ID       string  `json:"id"` // the dead letter's own
	Queue    QueueID `json:"queue"`
	Item     string  `json:"item"` // the item's ID
	Order    string  `json:"order,omitempty"`
	Class    int     `json:"class,omitempty"`
	Data     []byte  `json:"data"`
	Reason   []byte  `json:"reason"`
	Attempts int     `json:"attempts"`
	// Mark is the item's last mark.
	Mark     []byte    `json:"mark,omitempty"`
	Added    time.Time `json:"added"`
	Died     time.Time `json:"died"`
	Deadline time.Time `json:"deadline"`
}

// QueueStats describes a queue at one moment.
type QueueStats struct {
	Queue    QueueID
	Depth    int          // items in the queue, leased ones included
	Leased   int          // handed out
	Waiting  int          // not due yet, or held back by such an item's order
	ByClass  [Classes]int // items of each class
	Oldest   time.Time    // when the oldest item was added; zero when empty
	NextDue  time.Time    // when the next waiting item is due; zero when none
	DataSize int64        // bytes of Data
}

// Stats describes a store at one moment.
type Stats struct {
	Queues      []QueueStats
	Dead        int
	Seen        int   // ids remembered
	FileSize    int64 // bytes on disk, the hot file
	FreeDisk    int64 // bytes free on the disk
	Full        bool  // refusing Ingest
	Commits     uint64
	CommitP99   time.Duration // of the last thousand or so
	HistoryLag  int           // records not yet moved to a segment
	HistorySize int64         // bytes on disk, all segments
}

// Store remembers. All methods may be called concurrently.
type Store interface {
	// Settle makes everything in the settlement happen, or nothing. It returns
	// when it is durable (see Settlement.Lazy). Errors are ErrFull, ErrStale,
	// ErrClosed, ErrNotFound, or ctx's while the settlement is still waiting
	// to be taken; then nothing happened.
	Settle(ctx context.Context, s Settlement) (Outcome, error)

	// Fetch waits until at least one delivery of the queue is due, then hands
	// out as many as are, up to max, each under a lease. A lease that runs out
	// before it is settled ends like a Nak that does not count, due at once.
	// It returns ctx's error when ctx ends first.
	Fetch(ctx context.Context, q QueueID, max int, lease time.Duration) ([]Delivery, error)
	// Extend prolongs a lease to run from now; ErrStale when it is lost.
	Extend(d Delivery, lease time.Duration) error

	// Get returns the values of keys, in their order; nil where there is none.
	// The caller owns them.
	Get(ctx context.Context, keys ...Key) ([][]byte, error)
	// Range calls f for the keys of a bucket in order, from after (exclusive)
	// on, at most limit of them. Pages are short: no transaction stays open
	// between calls.
	Range(ctx context.Context, tenant, bucket, after string, limit int) ([]Entry, error)

	// Dead lists dead letters of a tenant ("" for all), oldest first, from
	// after (a dead letter's id, exclusive) on.
	Dead(ctx context.Context, tenant, after string, limit int) ([]DeadLetter, error)
	// DeadLetter returns one, or ErrNotFound.
	DeadLetter(ctx context.Context, id string) (DeadLetter, error)
	// Peek lists items of a queue, oldest first, leased ones included, from
	// sequence number after (exclusive) on. The deliveries carry no lease.
	Peek(ctx context.Context, q QueueID, after uint64, limit int) ([]Delivery, error)

	// Find returns the records of the history that carry the id, oldest first.
	Find(ctx context.Context, tenant, id string) ([]Record, error)
	// History returns a page of the records that a query is about, in the order
	// in which they were stored, and the place after which to go on; no records
	// is the end for now. Pages are short: no transaction stays open between
	// calls, and what is stored meanwhile comes later.
	History(ctx context.Context, q HistoryQuery) (recs []Record, next uint64, err error)

	LogReader

	// Forget takes the records of the history that carry one of the ids out of
	// it, wherever they are, and returns how many there were. When it is
	// interrupted, some may be left: ask again.
	Forget(ctx context.Context, tenant string, ids ...string) (int, error)
	// Scrub returns once nothing that was deleted, dropped or forgotten before is
	// left in the files, where it may stay until something else is written over
	// it. It takes as long as writing what is free in them. ErrFull: there is no
	// room to do it in.
	Scrub(ctx context.Context) error

	Stats() Stats

	// Run does the store's own work: commits, leases, retention, moving the
	// history. The store works only while Run runs; it returns when ctx ends,
	// after committing what it had taken, or with the error after which the
	// process must exit.
	Run(ctx context.Context) error
}

// Entry is one value of a bucket.
type Entry struct {
	Key   string
	Value []byte
}

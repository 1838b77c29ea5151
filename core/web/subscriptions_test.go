package web

import (
	"context"
	"time"

	"github.com/wabridge/wabridge/core"
	"github.com/wabridge/wabridge/core/broker"
	"github.com/wabridge/wabridge/core/store"
)

func (b *bridge) Subscribe(_ context.Context, r broker.SubscriptionRequest) (broker.NewSubscription, error) {
	return broker.NewSubscription{Subscription: broker.Subscription{ID: "sub-1", Tenant: r.Tenant, URL: r.URL, By: r.By}, Secret: "whsec_x"}, nil
}

func (b *bridge) Subscriptions(tenant string) []broker.Subscription {
	return []broker.Subscription{{ID: "sub-1", Tenant: tenant}}
}

func (b *bridge) Subscription(tenant, id string) (broker.Subscription, error) {
	if id != "sub-1" || tenant == "other" {
		return broker.Subscription{}, core.Errorf(core.CodeInvalid, "subscription", "none: %w", store.ErrNotFound)
	}
	return broker.Subscription{ID: id, Tenant: tenant}, nil
}

func (b *bridge) ChangeSubscription(_ context.Context, tenant, id string, _ broker.SubscriptionChange) (broker.Subscription, error) {
	return b.Subscription(tenant, id)
}

func (b *bridge) Unsubscribe(_ context.Context, tenant, id string) error {
	_, err := b.Subscription(tenant, id)
	return err
}

func (b *bridge) RotateSubscription(_ context.Context, tenant, id string, _ time.Duration) (broker.NewSubscription, error) {
	s, err := b.Subscription(tenant, id)
	return broker.NewSubscription{Subscription: s, Secret: "whsec_y"}, err
}

func (b *bridge) TestSubscription(_ context.Context, tenant, id string) (broker.SubscriptionTest, error) {
	_, err := b.Subscription(tenant, id)
	return broker.SubscriptionTest{Delivered: true, Status: 200}, err
}

func (b *bridge) Mailbox(_ context.Context, tenant, id, after string, _ int) (broker.MailboxPage, error) {
	_, err := b.Subscription(tenant, id)
	return broker.MailboxPage{Next: after}, err
}

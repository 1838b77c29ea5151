// Package guard keeps the bridge and its connectors from being led, by an address
// that somebody else may choose, to servers of its own network and to where clouds
// keep their credentials.
package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Addresses that are somebody's own network: reached only when that is meant.
// Those in never are not reached at all: what answers there is the machine's own
// cloud or nobody in particular.
var (
	ownNetworks = prefixes("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
		"192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"::1/128", "fc00::/7", "2001::/32", "2001:db8::/32", "2002::/16", "64:ff9b:1::/48")
	never = prefixes("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
		"::/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128")
	// nat64 addresses hold an IPv4 address in their last four bytes.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// Refusal says why an address must not be connected to; "" when it may be. Private
// allows addresses of somebody's own network; hint says how the owner allows them.
func Refusal(ip netip.Addr, private bool, hint string) string {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, p := range never {
		if p.Contains(ip) {
			return "the address is link-local, multicast or reserved, which is never allowed"
		}
	}
	for _, p := range ownNetworks {
		if p.Contains(ip) && !private {
			return "the address is a private one: " + hint
		}
	}
	return ""
}

// Error is a connection that was not made because of where it leads.
type Error struct{ Why string }

func (e *Error) Error() string { return e.Why }

var errNoAddress = errors.New("not an address")

// Dial returns a dialer that looks at the address a name resolved to,
// just before it connects: a name that resolves differently the second time
// does not get around it.
func Dial(private bool, hint string) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:   10 * time.Second,
		KeepAlive: 30 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return errNoAddress
			}
			if why := Refusal(at.Addr(), private, hint); why != "" {
				return &Error{why}
			}
			return nil
		},
	}
	return d.DialContext
}

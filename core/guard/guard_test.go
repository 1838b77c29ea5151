package guard

import (
	"net/netip"
	"testing"
)

func TestRefusal_KnowsPublicFromPrivateFromNever(t *testing.T) {
	const public, private, refused = "public", "private", "never"
	for address, want := range map[string]string{
		"93.184.216.34": public, "2606:2800:220:1::1": public, "::ffff:93.184.216.34": public, "64:ff9b::5db8:d822": public,
		"127.0.0.1": private, "127.8.9.1": private, "::1": private, "::ffff:127.0.0.1": private, "64:ff9b::7f00:1": private,
		"10.0.0.1": private, "172.16.0.1": private, "172.31.255.255": private, "192.168.1.1": private, "100.64.0.1": private,
		"100.127.255.255": private, "198.18.0.1": private, "fd12::1": private, "2002:7f00:1::": private, "2001::1": private,
		"172.15.0.1": public, "172.32.0.1": public, "100.128.0.1": public, "11.0.0.1": public,
		"0.0.0.0": refused, "0.1.2.3": refused, "::": refused, "169.254.169.254": refused, "::ffff:169.254.169.254": refused,
		"64:ff9b::a9fe:a9fe": refused, "fe80::1": refused, "fe80::1%eth0": refused, "224.0.0.1": refused, "255.255.255.255": refused,
		"240.0.0.1": refused, "ff02::1": refused, "fd00:ec2::254": refused,
	} {
		ip := netip.MustParseAddr(address)
		got := public
		switch {
		case Refusal(ip, true, "") != "":
			got = refused
		case Refusal(ip, false, "") != "":
			got = private
		}
		if got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
		if Refusal(ip, true, "") != "" && Refusal(ip, false, "") == "" {
			t.Errorf("%s is refused only where private addresses are allowed", address)
		}
	}
}

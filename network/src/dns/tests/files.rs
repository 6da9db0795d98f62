use crate::dns::resolv_conf::ResolvConf;

#[test]
fn files_are_read_as_resolvers_read_them() {
    let cases = [
        // name, file, what it says
        ("nothing", "", ""),
        (
            "a usual one",
            "nameserver 10.0.0.1\nsearch a.b c\noptions ndots:2 rotate\n",
            "search a.b c\nnameserver 10.0.0.1\noptions ndots:2 rotate\n",
        ),
        (
            "comments",
            "# nameserver 1.1.1.1\n; x\nnameserver 10.0.0.1 # mine\n",
            "nameserver 10.0.0.1\n",
        ),
        (
            "tabs and several",
            "nameserver\t10.0.0.1\n nameserver 10.0.0.2\n",
            "nameserver 10.0.0.1\nnameserver 10.0.0.2\n",
        ),
        (
            "by interface",
            "nameserver fe80::1%eth0\n",
            "nameserver fe80::1\n",
        ),
        (
            "the last search counts",
            "search a\nsearch b\n",
            "search b\n",
        ),
        ("a domain is a search", "domain a.b\n", "search a.b\n"),
        ("systemd's dot is no domain", "search .\n", ""),
        (
            "nonsense",
            "nameserver here\nnameserver\nsortlist 1\nx\n",
            "",
        ),
    ];
    for (case, file, expected) in cases {
        let read = ResolvConf::parse(file);
        assert_eq!(read.to_string(), expected, "{case}");
        assert_eq!(
            ResolvConf::parse(&read.to_string()),
            read,
            "{case}: read again"
        );
    }
}

#[test]
fn an_option_takes_the_place_of_the_one_before() {
    let mut file = ResolvConf::parse("options ndots:2 rotate timeout:1\n");
    file.set_option("ndots:5");
    file.set_option("rotate");
    assert_eq!(file.options, ["timeout:1", "ndots:5", "rotate"]);
}

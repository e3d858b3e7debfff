module pillion.test/go-control-plane

go 1.26

require github.com/envoyproxy/go-control-plane v0.14.0

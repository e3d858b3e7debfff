module pillion.test/spire

go 1.26

require github.com/spiffe/spire v1.15.3

// The version that SPIRE asks for is not served.
replace github.com/Keyfactor/ejbca-go-client-sdk => github.com/Keyfactor/ejbca-go-client-sdk v1.0.2

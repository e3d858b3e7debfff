"""The mesh's CA, and tokens that stand in for those of Kubernetes: all with openssl."""

import base64
import json
import os
import subprocess
import time

MESH_ISSUER, USERS_ISSUER = "https://mesh.test", "https://users.test"
GATEWAY_HOST = "shop.example"
# What the server's own certificate says, too.
SEALED_HOST = "sealed.example"


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, check=True, capture_output=True).stdout


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


class Pki:
    """A root, istiod's own CA below it, the gateway's certificate, and the key that signs tokens."""

    def __init__(self, directory):
        self.dir, self.ca = directory, f"{directory}/ca"
        os.makedirs(self.ca)
        self.root = f"{self.ca}/root-cert.pem"
        self.request("-x509", f"{directory}/root-key.pem", self.root, "/CN=root")
        self.issue("istiod", "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n",
                   f"{self.ca}/ca-key.pem", f"{self.ca}/ca-cert.pem", (self.root, f"{directory}/root-key.pem"))
        write(f"{self.ca}/cert-chain.pem", open(f"{self.ca}/ca-cert.pem").read() + open(self.root).read())
        self.gateway = (f"{directory}/gateway.pem", f"{directory}/gateway-key.pem")
        self.request("-x509", self.gateway[1], self.gateway[0], f"/CN={GATEWAY_HOST}",
                     "-addext", f"subjectAltName=DNS:{GATEWAY_HOST},DNS:{SEALED_HOST}")
        self.user = (f"{directory}/user.pem", f"{directory}/user-key.pem")
        self.issue("user", "extendedKeyUsage=clientAuth\n", self.user[1], self.user[0], (self.root, f"{directory}/root-key.pem"))
        self.operator = self.issue_operator()
        self.token_key = f"{directory}/token-key.pem"
        openssl("genrsa", "-out", self.token_key, "2048")
        # The gateway's proxy, which is another user, reads its key.
        for path in (*self.gateway, self.root):
            os.chmod(path, 0o644)

    def request(self, kind, key, out, subject, *more):
        openssl("req", kind, "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, "-keyout", key, "-out", out, *more)

    def issue(self, name, extensions, key, out, issuer):
        asked, ext = f"{self.dir}/{name}.csr", f"{self.dir}/{name}.ext"
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", asked)
        write(ext, extensions)
        openssl("x509", "-req", "-days", "2", "-in", asked, "-CA", issuer[0], "-CAkey", issuer[1], "-CAcreateserial",
                "-extfile", ext, "-out", out)

    def issue_operator(self):
        """A folder with the identity that istiod lets ask for everybody's state."""
        folder = f"{self.dir}/operator"
        os.makedirs(folder)
        self.issue("operator", "subjectAltName=critical,URI:spiffe://cluster.local/ns/istio-system/sa/default\n"
                   "keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n",
                   f"{folder}/key.pem", f"{folder}/leaf.pem", (f"{self.ca}/ca-cert.pem", f"{self.ca}/ca-key.pem"))
        write(f"{folder}/cert-chain.pem", open(f"{folder}/leaf.pem").read() + open(f"{self.ca}/ca-cert.pem").read())
        write(f"{folder}/root-cert.pem", open(self.root).read())
        return folder

    def key_set(self):
        modulus = openssl("rsa", "-in", self.token_key, "-noout", "-modulus").decode().strip().split("=")[1]
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one", "n": base64url(bytes.fromhex(modulus)), "e": "AQAB"}
        return json.dumps({"keys": [key]})

    def token(self, issuer, audience, subject):
        now = int(time.time())
        claims = {"iss": issuer, "aud": [audience], "sub": subject, "iat": now, "exp": now + 86400, "groups": ["admin"]}
        parts = [{"alg": "RS256", "typ": "JWT", "kid": "one"}, claims]
        signed = ".".join(base64url(json.dumps(part).encode()) for part in parts)
        signature = openssl("dgst", "-sha256", "-sign", self.token_key, data=signed.encode())
        return f"{signed}.{base64url(signature)}"


def base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

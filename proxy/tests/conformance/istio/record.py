"""Makes the recording that `cargo test --test recorded` plays: OUT NAME=FILE..., where a file is a proxy's `/config_dump?include_eds`,
or {type url: {name: resource}}.

What stands in it several times is written once: {"$": n} is the n-th of the pool.
"""

import collections
import json
import sys

# Where in a config dump which resources stand: section, key, and the resource's own.
SECTIONS = (
    ("ClustersConfigDump", "dynamic_active_clusters", "cluster"),
    ("ListenersConfigDump", "dynamic_listeners", "active_state.listener"),
    ("RoutesConfigDump", "dynamic_route_configs", "route_config"),
    ("EndpointsConfigDump", "dynamic_endpoint_configs", "endpoint_config"),
)
# Shorter ones are not worth a reference.
SHORTEST = 60


def text(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def resources(document):
    if "configs" not in document:
        return document
    found = {}
    for section, key, path in SECTIONS:
        for part in document["configs"]:
            if not part["@type"].endswith(section):
                continue
            for entry in part.get(key, []):
                for step in path.split("."):
                    entry = entry[step]
                entry = dict(entry)
                of_type = found.setdefault(entry.pop("@type"), {})
                of_type[entry.get("name") or entry["cluster_name"]] = entry
    return found


class Pool:
    def __init__(self, documents):
        self.seen, self.entries, self.indices = collections.Counter(), [], {}
        self.count(documents)

    def count(self, value):
        if isinstance(value, (dict, list)):
            key = text(value)
            self.seen[key] += 1
            # What is within a copy has been counted with the first.
            if self.seen[key] == 1:
                for inner in value.values() if isinstance(value, dict) else value:
                    self.count(inner)

    def put(self, value):
        if not isinstance(value, (dict, list)):
            return value
        key = text(value)
        if key in self.indices:
            return {"$": self.indices[key]}
        put = {name: self.put(inner) for name, inner in value.items()} if isinstance(value, dict) else [self.put(inner) for inner in value]
        if self.seen[key] < 2 or len(key) < SHORTEST:
            return put
        self.entries.append(put)
        self.indices[key] = len(self.entries) - 1
        return {"$": self.indices[key]}


def main(out, *recordings):
    documents = {}
    for recording in recordings:
        name, _, path = recording.partition("=")
        with open(path) as file:
            documents[name] = resources(json.load(file))
    pool = Pool(documents)
    named = {name: pool.put(document) for name, document in documents.items()}
    with open(out, "w") as file:
        file.write('{"pool": [\n' + ",\n".join(text(entry) for entry in pool.entries) + '\n],\n"recordings": {\n')
        file.write(",\n".join(f"{json.dumps(name)}: {text(document)}" for name, document in named.items()) + "\n}}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

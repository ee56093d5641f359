#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chronos/io/stream.h"
#include "chronos/repo/repository.h"

/// A repository as files: what an operator looks at with no other tool that could.
namespace chronos::ops::browse {

struct Place {
    repo::Repository repository;
    std::string root;  ///< the configured path of the repository: absolute paths begin with it
    std::string path;  ///< relative to it, or absolute and below it; "" is the repository itself
};

enum class Order { none, ascending, descending };

struct ListRequest {
    Place place;
    bool recurse = false;
    std::optional<std::string> filter;  ///< extended regular expression on names
    Order order = Order::ascending;
};

/// Names are relative to the path, "." is the path itself, and a path that does not exist has no
/// other entry. Kinds: param_invalid (path), format (filter). Source: docs/format/commands.md,
/// repo-ls and repo-get.
Result<std::vector<storage::Entry>> list(const ListRequest& request);

/// The content of a file, decrypted but never decompressed, to `sink`, which it finishes. The
/// passphrase is the one that the place of the file asks for (docs/format/ciphers.md, Passphrases);
/// parts of bundles and of block-incremental files have no place of their own and cannot be had.
/// Kind not_found if there is no such file.
Result<> get(const Place& place, bool raw, io::Sink& sink);

}  // namespace chronos::ops::browse

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::usage {

struct UsageRequest {
    std::string stanza;  ///< "" for all
    std::vector<repo::Repository> repositories;
};

/// What belongs together in a repository and lies in one storage class.
struct UsageRow {
    unsigned repo_key = 1;
    std::string stanza;
    std::string area;  ///< "archive", "backup", or "chronos": what pgBackRest does not know
    std::string item;  ///< backup label, archive id, ...; "" for the info files
    std::string storage_class;  ///< "" where the store has none
    std::uint64_t objects = 0;
    std::uint64_t bytes = 0;  ///< as stored: compressed, encrypted
};

/// Sorted by repository, stanza, area, item and class. Lists everything, so it takes a request for
/// each thousand objects of a bucket; reads nothing and needs no passphrase. Takes no lock: beside
/// a running backup it counts what is there at the time.
Result<std::vector<UsageRow>> measure_usage(const UsageRequest& request,
                                            const Cancellation& cancel);

}  // namespace chronos::ops::usage

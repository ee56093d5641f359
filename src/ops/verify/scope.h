#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "chronos/io/worker_pool.h"
#include "chronos/storage/parallel.h"
#include "ops/verify/findings.h"
#include "ops/verify/meter.h"

namespace chronos::ops::verify {

/// What all parts of the verification of one repository share. Outlives them.
struct Scope {
    const VerifyRequest& request;
    const repo::Repository& direct;  ///< for what we write
    repo::Repository repository;     ///< the same, metered
    Findings& findings;
    Meter& meter;
    const Cancellation& cancel;
    io::ByteBudget& budget;

    const std::string& stanza() const { return request.stanza; }
    io::Workers workers() const {
        return storage::workers_for(*direct.storage, request.process_max);
    }
};

/// The files below a directory: one request each thousand files, where a question for each would
/// be one for every file.
class Listing {
public:
    explicit Listing(std::vector<storage::Entry> entries) : entries_(std::move(entries)) {}

    /// nullptr if there is none.
    const storage::Entry* find(const std::string& name) const {
        const auto at = std::ranges::lower_bound(entries_, name, {}, &storage::Entry::name);
        return at != entries_.end() && at->name == name ? &*at : nullptr;
    }
    const std::vector<storage::Entry>& entries() const { return entries_; }

private:
    std::vector<storage::Entry> entries_;  ///< ascending by name
};

}  // namespace chronos::ops::verify

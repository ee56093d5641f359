#pragma once

#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "chronos/ops/verify/verify.h"

namespace chronos::ops::verify {

/// Names a finding while others may still learn that they suffer from it.
using FindingId = std::uint32_t;
inline constexpr FindingId kNoFinding = ~FindingId{0};

/// What is wrong with one repository, and which backups suffer. Any thread.
class Findings {
public:
    explicit Findings(unsigned repo_key) : repo_key_(repo_key) {}

    struct Place {
        std::string where;
        std::string file;
    };
    FindingId fail(Place place, Problem problem, std::string message, std::string consequence = "");
    void note(Place place, std::string message);
    /// The backup cannot be restored because of the finding.
    void affect(FindingId id, const std::string& label);

    /// What it means, where that is not that backups cannot be restored.
    void explain(FindingId id, const std::string& consequence);

    Problem problem_of(FindingId id) const;
    /// Forgets what was found in a backup that is no more.
    void drop(const std::string& where);
    bool any_failure() const;

    /// In the order of place; findings whose backups are known get their consequence.
    std::vector<VerifyFinding> take();

private:
    struct Item {
        VerifyFinding finding;
        std::set<std::string> affected;
        bool dropped = false;
    };
    unsigned repo_key_;
    mutable std::mutex mutex_;
    std::vector<Item> items_;
};

/// Whether an error says something about what was read, and not about the way to it: a repository
/// that stopped answering, a lack of memory or a request to stop end the work on it.
bool is_about_content(const Error& error);
/// The class of damage that an error of reading shows.
Problem problem_of(const Error& error);

}  // namespace chronos::ops::verify

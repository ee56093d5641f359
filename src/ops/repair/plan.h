#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "chronos/ops/repair/repair.h"
#include "chronos/repo/side/lease.h"

namespace chronos::ops::repair {

/// What the rules are told: which stanza, and where what is set aside goes.
struct Place {
    const repo::Repository& repository;
    storage::Storage& storage;
    const std::string& stanza;
    std::string aside;  ///< "chronos/main/aside/20261129T124000Z"

    /// "backup/main/x" as it is called when it is set aside.
    std::string aside_name(const std::string& object) const { return aside + "/" + object; }
};

/// What is wrong, and how it is mended. Rules add to it and change nothing; what they have added is
/// carried out at the end, in the order of `Stage`, because what is written last makes the rest
/// visible.
class Plan {
public:
    enum class Stage { timelines, manifests, asides, archive_info, backup_info };
    using Action = std::function<Result<>()>;

    void add(Stage stage, Step step, Action action) {
        items_.push_back({stage, std::move(step), std::move(action)});
    }
    /// Something that is not mended here.
    void cannot(Step step) {
        step.state = State::cannot;
        items_.push_back({Stage::backup_info, std::move(step), nullptr});
    }
    bool has(Stage stage) const;
    /// Ends at the first error, which says what was being done, and when the lease is lost; null if
    /// there is none.
    Result<> carry_out(repo::Lease* lease, const Cancellation& cancel);
    std::vector<Step> steps() &&;

private:
    struct Item {
        Stage stage;
        Step step;
        Action action;
    };
    void sort();
    std::vector<Item> items_;
};

/// Copies an object, as it is stored, to where it is set aside; what is no file is moved there.
Result<> keep_aside(const Place& place, const std::string& object);
/// What there is under the name of an object that is no file, so that none can be read or written
/// there; "" if nothing is.
Result<std::string> what_is_in_the_way(const Place& place, const std::string& object);
/// Sets that aside.
Result<> make_room(const Place& place, const std::string& object);

}  // namespace chronos::ops::repair

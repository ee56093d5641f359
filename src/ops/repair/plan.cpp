#include "ops/repair/plan.h"

#include <algorithm>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/storage/move.h"

namespace chronos::ops::repair {

bool Plan::has(Stage stage) const {
    return std::ranges::any_of(
        items_, [&](const Item& item) { return item.stage == stage && item.action != nullptr; });
}

void Plan::sort() {
    std::ranges::stable_sort(
        items_, {}, [](const Item& item) { return std::pair(item.action == nullptr, item.stage); });
}

Result<> Plan::carry_out(repo::Lease* lease, const Cancellation& cancel) {
    sort();
    for (Item& item : items_) {
        if (item.action == nullptr) continue;
        CHRONOS_TRY(cancel.check());
        if (lease != nullptr) CHRONOS_TRY(lease->prove());
        CHRONOS_TRY_DOING(item.action(), "repair '" + item.step.object + "'");
        item.step.state = State::done;
        log_info(item.step.object + ": " + item.step.remedy);
    }
    return {};
}

std::vector<Step> Plan::steps() && {
    sort();
    std::vector<Step> steps;
    for (Item& item : items_) steps.push_back(std::move(item.step));
    return steps;
}

Result<> keep_aside(const Place& place, const std::string& object) {
    const auto entry = CHRONOS_TRY(place.storage.info(object));
    if (entry && entry->type != storage::EntryType::file) {
        // Another run of the same second may have had one, too.
        std::string name = place.aside_name(object);
        for (int number = 2; CHRONOS_TRY(storage::exists(place.storage, name)); ++number)
            name = place.aside_name(object) + "." + std::to_string(number);
        return storage::move_tree(place.storage, object, name);
    }
    return storage::copy_object(place.storage, object, place.aside_name(object));
}

Result<std::string> what_is_in_the_way(const Place& place, const std::string& object) {
    const auto entry = CHRONOS_TRY(place.storage.info(object));
    if (!entry) return std::string();
    switch (entry->type) {
        case storage::EntryType::file: return std::string();
        case storage::EntryType::path: return std::string("a directory is in its place");
        case storage::EntryType::link:
            return "a link to '" + printable(entry->link_destination, 300) +
                   "', where no file is, is in its place";
        case storage::EntryType::special: break;
    }
    return std::string("something that is no file (a pipe, socket or device) is in its place");
}

Result<> make_room(const Place& place, const std::string& object) {
    if (CHRONOS_TRY(what_is_in_the_way(place, object)).empty()) return {};
    return keep_aside(place, object);
}

}  // namespace chronos::ops::repair

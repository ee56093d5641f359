#include "ops/repair/plan.h"

#include <algorithm>

#include "chronos/base/log.h"
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
    return storage::copy_object(place.storage, object, place.aside_name(object));
}

}  // namespace chronos::ops::repair

#include "chronos/base/cancel.h"

#include <algorithm>
#include <thread>

#include "chronos/base/activity.h"

namespace chronos {

Result<> Cancellation::sleep(std::chrono::milliseconds duration) const {
    const Deadline deadline(duration);
    while (!deadline.passed()) {
        CHRONOS_TRY(check());
        Activity::note();
        std::this_thread::sleep_for(std::min(deadline.remaining(), std::chrono::milliseconds(100)));
    }
    return check();
}

}  // namespace chronos

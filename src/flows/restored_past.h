#pragma once

#include "chronos/flows/look.h"

namespace chronos::flows {

/// run_in_past() where nothing can be mounted: what the server is going to be asked for is
/// restored, of everything else only its size. Which files that are it says itself, so that it is
/// started more than once: as soon as it is consistent, and at the target, again if it names others
/// there. What was not restored is gone when `work` begins: to read it is an error.
Result<> run_in_restored_past(const LookRequest& request, const ReadInPast& read,
                              const std::function<Result<>(const ops::drill::Look&)>& work,
                              const ProgressReceiver& progress, const Cancellation& cancel);

/// What a server's log says of pages that recovery did not find: of none but those may that be.
/// Kind runtime.
class Selection;
Result<> check_found_pages(std::string_view log, const Selection& selection);

}  // namespace chronos::flows

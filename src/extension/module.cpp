#include "extension/launcher.h"
#include "extension/postgres_api.h"
#include "extension/settings.h"
#include "extension/shared_state.h"

extern "C" {
#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(.name = "chronos_backup", .version = CHRONOS_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);

/// All of it must happen in the postmaster. Loaded later, by a function or by archive_library
/// alone, the module defines nothing: its functions and the archive callbacks say what is missing.
void _PG_init(void) {
    if (!process_shared_preload_libraries_in_progress) return;
    chronos::extension::define_settings();
    chronos::extension::request_shared_state();
    // pg_upgrade's servers are nobody's: a schedule that is due there would write into tables that
    // are being replaced.
    if (!IsBinaryUpgrade) chronos::extension::register_launcher();
}
}

namespace chronos::extension {

uint32 wait_event(Wait wait) {
#if PG_VERSION_NUM >= 170000
    static const char* const kNames[] = {"ChronosArchive", "ChronosEngine", "ChronosJob",
                                         "ChronosLauncher"};
    static uint32 ids[lengthof(kNames)];
    uint32* id = &ids[static_cast<int>(wait)];
    if (*id == 0) *id = WaitEventExtensionNew(kNames[static_cast<int>(wait)]);
    return *id;
#else
    (void)wait;
    return PG_WAIT_EXTENSION;
#endif
}

}  // namespace chronos::extension

#pragma once

#include <span>

#include "chronos/config/options/archive.h"
#include "chronos/config/options/backup.h"
#include "chronos/config/options/cluster.h"
#include "chronos/config/options/commands.h"
#include "chronos/config/options/drill.h"
#include "chronos/config/options/expire.h"
#include "chronos/config/options/general.h"
#include "chronos/config/options/health.h"
#include "chronos/config/options/log.h"
#include "chronos/config/options/mount.h"
#include "chronos/config/options/repository.h"
#include "chronos/config/options/restore.h"
#include "chronos/config/options/s3.h"
#include "chronos/config/options/serve.h"

namespace chronos::config::options {

/// Every option there is, by subject. For the compiler, which looks names up in it; the program
/// has them sorted (src/config/option_table.cpp).
inline constexpr std::span<const Option> kSubjects[] = {
    kArchiveOptions,    kBackupOptions,  kClusterOptions, kCommandsOptions, kDrillOptions,
    kExpireOptions,     kGeneralOptions, kHealthOptions,  kLogOptions,      kMountOptions,
    kRepositoryOptions, kRestoreOptions, kS3Options,      kServeOptions};

}  // namespace chronos::config::options

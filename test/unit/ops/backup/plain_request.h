#pragma once

#include "chronos/ops/backup/backup.h"

namespace chronos::ops::backup {

/// Of one thread, and with sizes and times that are in no test's way.
inline BackupRequest plain_request() {
    BackupRequest request;
    request.stanza = "main";
    request.exec_id = "1-00000000";
    request.compress_type = compress::CompressType::none;
    request.bundle_size = 20 << 20;
    request.bundle_limit = 2 << 20;
    request.block_rules.super_block_size = 256 << 10;
    request.block_rules.super_block_size_full = 1 << 20;
    request.process_max = 1;
    request.buffer_size = 1 << 20;
    request.compress_level_network = 1;
    request.manifest_save_threshold = 1 << 30;
    request.archive_timeout = std::chrono::minutes(1);
    request.db_timeout = std::chrono::minutes(30);
    return request;
}

}  // namespace chronos::ops::backup

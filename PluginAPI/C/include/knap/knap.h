#pragma once

// Everything a plugin can use. Start with plugin.h; each header under ext/ stands alone.

#include "types.h"
#include "status.h"
#include "buffer.h"
#include "call.h"
#include "host.h"
#include "plugin.h"

#include "ext/committed.h"
#include "ext/config.h"
#include "ext/descriptors.h"
#include "ext/drain.h"
#include "ext/health.h"
#include "ext/intercept.h"
#include "ext/log.h"
#include "ext/net.h"
#include "ext/observe.h"
#include "ext/registry.h"
#include "ext/services.h"
#include "ext/state-directory.h"
#include "ext/state.h"
#include "ext/timers.h"

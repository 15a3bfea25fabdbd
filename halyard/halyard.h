// Halyard: explicit command encoders for transformer inference. Include this.
#pragma once

#include "halyard/base/result.h"
#include "halyard/base/types.h"
#include "halyard/hal/buffer.h"
#include "halyard/hal/cpu/kernel.h"
#include "halyard/hal/device.h"
#include "halyard/hal/encoder.h"
#include "halyard/hal/graph.h"
#include "halyard/hal/hazard.h"
#include "halyard/hal/kernel.h"
#include "halyard/hal/passes.h"
#include "halyard/hal/plan.h"
#include "halyard/hal/pool.h"
#include "halyard/hal/session.h"
#include "halyard/ops/ops.h"

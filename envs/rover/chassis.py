"""The rover's body: a four-wheeled skid-steer base of 0.67 x 0.54 m and 18 kg with a camera mast."""

from __future__ import annotations

import mujoco
import numpy as np

WHEEL_RADIUS_M = 0.13
TRACK_M = 0.44
AXLE_X_M = 0.16
RADIUS_M = 0.41
"""A disc around the rover's centre that holds all of it."""
CAMERA = "front"
# In the order of the motors.
WHEELS = ("front_left", "rear_left", "front_right", "rear_right")
SERVO_NMS = 30.0
TORQUE_NM = 20.0
# Contact bits: wheels touch ground and obstacles; hull, mast and bumpers only obstacles, for the ground is too gentle to
# reach them.
GROUND_CONTACT, OBSTACLE_CONTACT = 1, 2


def add_rover(spec: mujoco.MjSpec) -> None:
    """Adds body `rover` (free joint, origin on the ground between the wheels), its wheels, motors and camera."""
    rover = spec.worldbody.add_body(name="rover")
    rover.add_freejoint(name="rover")
    box, cylinder, ellipsoid = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_ELLIPSOID
    upper = {"contype": 0, "conaffinity": OBSTACLE_CONTACT}
    rover.add_geom(name="hull", type=box, size=[0.24, 0.16, 0.07], pos=[0, 0, 0.17], mass=13.0, rgba=[0.9, 0.75, 0.1, 1], **upper)
    rover.add_geom(name="mast", type=cylinder, size=[0.02, 0.11, 0], pos=[0.1, 0, 0.33], mass=0.3, rgba=[0.2] * 3 + [1], **upper)
    # Low bumpers: pushing against a wall with the wheels' edges instead would lever the nose up and turn the rover over.
    for name, x in (("front_bumper", 0.32), ("rear_bumper", -0.32)):
        rover.add_geom(name=name, type=box, size=[0.015, 0.24, 0.03], pos=[x, 0, 0.09], mass=0.5, rgba=[0.2] * 3 + [1], **upper)
    # Looks along +x, 8 degrees down: camera axes are x right, y up, -z forward.
    down = np.radians(8.0)
    rover.add_camera(name=CAMERA, pos=[0.16, 0, 0.45], fovy=95.0, xyaxes=[0, -1, 0, np.sin(down), 0, np.cos(down)])
    for name in WHEELS:
        x = AXLE_X_M if name.startswith("front") else -AXLE_X_M
        y = TRACK_M / 2 if name.endswith("left") else -TRACK_M / 2
        wheel = rover.add_body(name=name, pos=[x, y, WHEEL_RADIUS_M])
        wheel.add_joint(name=name, axis=[0, 1, 0], damping=0.02, armature=0.01)
        # An ellipsoid touches the ground in one point, which keeps turning on the spot smooth.
        wheel.add_geom(name=name, type=ellipsoid, size=[WHEEL_RADIUS_M, 0.05, WHEEL_RADIUS_M], mass=0.9,
                       friction=[1.3, 0.005, 0.0001], rgba=[0.1, 0.1, 0.1, 1],
                       contype=0, conaffinity=GROUND_CONTACT | OBSTACLE_CONTACT)
        motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.forcerange = [-TORQUE_NM, TORQUE_NM]
        motor.set_to_velocity(kv=SERVO_NMS)
